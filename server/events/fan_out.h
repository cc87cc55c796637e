// SPDX-License-Identifier: Apache-2.0
// One thread that sends the event log to all watchers. It passes opaque bytes to sinks (gRPC
// streams), one message at a time per watcher. A watcher that does not read costs a cursor and one
// message. Publishing an event only wakes this thread. Live watchers are served from memory; what a
// watcher needs from the database is read by a small pool of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/process/thread_pool.h"
#include "proto/base/process/wake_up.h"
#include "proto/base/time.h"
#include "server/events/event_log.h"
#include "server/events/watch.h"

namespace trainerd::server {

// Where a watcher's messages go. Called only by the fan-out thread, never under a lock; must not
// block.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // Starts to send. FanOut::WriteDone follows, from any thread, possibly from inside Write.
  virtual void Write(Bytes message) = 0;
  // The last call; no message is outstanding. The sink may destroy itself.
  virtual void Finish(const absl::Status& status) = 0;
  // The daemon shuts down and a message has been outstanding for kDrainPatience: stop sending it.
  // WriteDone follows.
  virtual void Abandon() = 0;

  // Set by FanOut::Add before the first call.
  int64_t watch_id = 0;
};

// At shutdown an outstanding message gets this time, so that its watcher receives the final status
// and not a broken stream.
constexpr absl::Duration kDrainPatience = absl::Seconds(1);

// Thread-safety: all methods may be called from any thread.
class FanOut {
 public:
  FanOut(
      const EventLog& log, std::string database_id,
      std::function<absl::Time()> clock = [] { return SteadyNow(); });
  // Finishes every watcher first.
  ~FanOut();

  // Registers a watcher and sets sink->watch_id, a number that is never used again. `sink` must
  // live until its Finish is called.
  void Add(WatchOptions options, WatchSink* sink);
  // A message was sent (ok), or the watcher has disconnected.
  void WriteDone(int64_t id, bool ok);
  // The watcher has disconnected: its sink is finished once no message is outstanding.
  void Cancel(int64_t id);
  // The log has new events.
  void Wake();
  // Ends all watchers, present and future, with `status`: each after its outstanding message, which
  // is abandoned after kDrainPatience.
  void Drain(const absl::Status& status);

  // Runs a database read of a sink on a reader thread. It always runs, also during shutdown.
  void PostRead(std::function<void()> read) { readers_.Run(std::move(read)); }

 private:
  struct Entry {
    // shared_ptr: a history read keeps its watch alive when the entry is erased meanwhile.
    std::shared_ptr<Watch> watch;
    WatchSink* sink = nullptr;
    bool writing = false;
    // A reader thread uses `watch`.
    bool reading = false;
    std::optional<absl::Status> closing;
    absl::Time abandon_at = absl::InfiniteFuture();
    absl::Time wake = absl::InfinitePast();
  };
  struct Command {
    enum class Kind { kAdd, kWriteDone, kReadDone, kCancel } kind;
    int64_t id = 0;
    bool ok = true;
    Entry entry;
  };

  void Loop();
  bool IsDone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ && inbox_.empty() && entries_.empty();
  }
  void Send(Command command) ABSL_LOCKS_EXCLUDED(mutex_);
  void Apply(Command command);
  void Pass(absl::Time now, bool new_events);
  // False: the entry was finished and must be erased.
  bool AdvanceOne(int64_t id, Entry& entry, BatchCache* cache, absl::Time now);
  void StartRead(int64_t id, Entry& entry);
  void CloseAll(const absl::Status& status, absl::Time now);
  absl::Time NextWake(absl::Time now) const;

  const EventLog& log_;
  const std::string database_id_;
  const std::function<absl::Time()> clock_;

  // Fan-out thread only.
  std::map<int64_t, Entry> entries_;
  // Watchers that may have something to do although the log has no new events.
  std::set<int64_t> ready_;

  absl::Mutex mutex_;
  std::vector<Command> inbox_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> draining_ ABSL_GUARDED_BY(mutex_);
  int64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  WakeUp wake_up_;
  // Destroyed before all else: its reads use the other members.
  ThreadPool readers_;
  std::thread thread_;
};

}  // namespace trainerd::server
