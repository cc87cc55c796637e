// SPDX-License-Identifier: Apache-2.0
// The checkpoints that clients download. Retention keeps each of them for 10 minutes after the last
// call that read it, so that an interrupted download can continue.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/time.h"

namespace trainerd::server {

inline constexpr absl::Duration kKeepDownloaded = absl::Minutes(10);

// Kept in memory: a restart of the daemon forgets them. Thread-safety: all methods may be called
// from any thread.
class DownloadsInUse {
 public:
  explicit DownloadsInUse(std::function<absl::Time()> clock = SteadyNow)
      : clock_(std::move(clock)) {}

  // A call reads a file of this checkpoint (its resource name) now.
  void Touch(const std::string& checkpoint);
  // Resource names.
  std::set<std::string> Names() const;

 private:
  const std::function<absl::Time()> clock_;
  mutable absl::Mutex mutex_;
  std::map<std::string, absl::Time> last_reads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
