// SPDX-License-Identifier: Apache-2.0
// The checkpoints that clients download. Retention keeps each of them for 10 minutes after the last
// call that read it, so that an interrupted download can continue. A restart of the daemon counts
// as a read of all of them.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/time.h"
#include "server/store/store.h"

namespace trainerd::server {

inline constexpr absl::Duration kKeepDownloaded = absl::Minutes(10);

// Names are in the database, times in memory. Thread-safety: Load first, then all methods may be
// called from any thread.
class DownloadsInUse {
 public:
  // `store` outlives this.
  explicit DownloadsInUse(Store& store, std::function<absl::Time()> clock = SteadyNow)
      : store_(store), clock_(std::move(clock)) {}

  // What an earlier daemon had in use. Errors: of the database.
  absl::Status Load();
  // A call reads a file of this checkpoint (its resource name) now. A new name is durable when this
  // returns, unless the database cannot store it: a download must be possible on a full disk.
  void Touch(const std::string& checkpoint);
  // Resource names.
  std::set<std::string> Names() const;

 private:
  Store& store_;
  const std::function<absl::Time()> clock_;
  mutable absl::Mutex mutex_;
  std::map<std::string, absl::Time> last_reads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
