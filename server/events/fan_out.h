// SPDX-License-Identifier: Apache-2.0
// One thread that sends the event log to all watchers. It hands opaque bytes to sinks (gRPC
// streams, in tests anything), one at a time per watcher; a watcher that does not read costs its
// place and one message. Publishing an event only wakes this thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/events/event_log.h"
#include "server/events/watch.h"

namespace trainerd::server {

// Where a watcher's messages go. Called only by the fan-out thread, never under a lock.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // Starts to send; FanOut::WriteDone follows, from any thread, also from inside Write.
  virtual void Write(Bytes message) = 0;
  // The last call; no message is outstanding. The sink may destroy itself.
  virtual void Finish(const absl::Status& status) = 0;
  // The daemon is leaving and a message has been outstanding for kDrainPatience: give it up.
  // WriteDone follows.
  virtual void Abandon() = 0;

  // Set by FanOut::Add before the first call.
  int64_t watch_id = 0;
};

// How long a message that is on its way when the daemon leaves may take, so that its watcher reads
// the reason and not a broken stream.
constexpr absl::Duration kDrainPatience = absl::Seconds(1);

// Thread-safety: all methods may be called from any thread.
class FanOut {
 public:
  FanOut(
      const EventLog& log, std::string database_id,
      std::function<absl::Time()> clock = [] { return absl::Now(); });
  // Finishes every watcher first.
  ~FanOut();

  // Registers a watcher under sink->watch_id, a number that is never used again; `sink` lives until
  // its Finish was called.
  void Add(WatchOptions options, WatchSink* sink);
  // A message has been sent (ok) or the watcher is gone.
  void WriteDone(int64_t id, bool ok);
  // The watcher has gone: its sink is finished as soon as no message is outstanding.
  void Cancel(int64_t id);
  // New events are in the log.
  void Wake();
  // Ends all watchers, now and from now on, with `status`: each after its outstanding message,
  // which is abandoned if it takes longer than kDrainPatience.
  void Drain(const absl::Status& status);

  int64_t watchers() const;

 private:
  struct Entry {
    std::unique_ptr<Watch> watch;
    WatchSink* sink = nullptr;
    bool writing = false;
    std::optional<absl::Status> closing;
    absl::Time abandon_at = absl::InfiniteFuture();
    absl::Time wake = absl::InfinitePast();
  };
  struct Command {
    enum class Kind { kAdd, kWriteDone, kCancel } kind;
    int64_t id = 0;
    bool ok = true;
    Entry entry;
  };

  void Loop();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return woken_ || !inbox_.empty() || (stopping_ && watchers_ == 0);
  }
  void Apply(Command command);
  void Pass(absl::Time now, bool new_events);
  // False: the entry was finished and is gone.
  bool AdvanceOne(int64_t id, Entry& entry, BatchCache* cache, absl::Time now);
  void CloseAll(const absl::Status& status, absl::Time now);

  const EventLog& log_;
  const std::string database_id_;
  const std::function<absl::Time()> clock_;

  // Fan-out thread only.
  std::map<int64_t, Entry> entries_;
  std::set<int64_t> ready_;  // to be looked at although nothing new is in the log

  mutable absl::Mutex mutex_;
  std::vector<Command> inbox_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> draining_ ABSL_GUARDED_BY(mutex_);
  int64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t watchers_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace trainerd::server
