// SPDX-License-Identifier: Apache-2.0
// One thread that reads the spools of open attempts into the event log. The kernel wakes it when a
// spool grows; each batch is one transaction. After an attempt's worker has exited, the ingester
// reads the spool to its end (IsDrained) before the reconciler closes the attempt.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/ingest/activity.h"
#include "server/ingest/spool_reader.h"
#include "server/runs/executor.h"
#include "server/store/store.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class Ingester {
 public:
  struct Hooks {
    // Called when the reconciler should step the job: its attempt has ended, was drained, or has
    // published a checkpoint.
    std::function<void(const std::string& job)> poke = [](const std::string&) {};
  };
  Ingester(Store& store, std::unique_ptr<SpoolWatcher> watcher, ActivityTable& activity,
           Hooks hooks);
  ~Ingester() { Stop(); }
  // Ends the thread; after that no hook is called.
  void Stop();

  // Starts reading an open attempt at its stored spool position.
  absl::Status Add(const AttemptRef& attempt);
  // The attempt's worker has exited, so its spool is complete.
  void MarkEnding(const AttemptRef& attempt);
  bool IsDrained(const AttemptRef& attempt) const;
  // Forgets the attempt. Removes its spool files if all of them were ingested.
  void Remove(const AttemptRef& attempt);

  // One pass over all attempts. True when there is more to read.
  bool PassOnce();

 private:
  struct Source {
    AttemptRef attempt;
    std::string dir;
    SpoolPosition position;
    bool ending = false;
    bool drained = false;
    bool corruption_reported = false;
    bool end_reported = false;
  };
  using Key = std::pair<std::string, int>;

  void Loop();
  bool ReadSource(const Key& key, Source source);
  absl::Status TakeBatch(const Source& source, SpoolBatch batch);
  void ReportCorruption(const Source& source, const std::string& what);
  void Update(const Key& key, const Source& source);
  void ReportIfEnded(const Key& key, const Source& source);

  Store& store_;
  const std::unique_ptr<SpoolWatcher> watcher_;
  ActivityTable& activity_;
  const Hooks hooks_;

  absl::Mutex pass_mutex_;  // one pass at a time
  mutable absl::Mutex mutex_;
  std::map<Key, Source> sources_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace trainerd::server
