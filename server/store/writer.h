// SPDX-License-Identifier: Apache-2.0
// The only writer of the database. One thread takes all queued changes, runs each in a savepoint
// and commits them together, so one fsync acknowledges many changes (group commit). No change is
// acknowledged before the commit.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/store/rows/event_record.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// Limits of one change. They bound the size of a watcher's message.
constexpr int kMaxChangeEvents = 256;
constexpr int64_t kMaxChangeBytes = 1024 * 1024;

// The interface of a change. Used only on the writer's thread, while the change runs.
class Transaction {
 public:
  Connection& db() { return db_; }
  // The system's clock, for times that users read.
  absl::Time now() const { return times_.now; }
  // Store::SteadyNow, for deadlines.
  absl::Time steady_now() const { return times_.steady_now; }
  // Sets the sequence number of the event (and the time, if it has none) and stores it. Watchers
  // get it after the commit. Errors: ResourceExhausted beyond the limits of one change.
  absl::Status Append(v1::Event event, int flags = 0);
  // Of the newest event, with those of this change.
  int64_t last_seq() const { return next_seq_ - 1; }

 private:
  friend class Writer;
  struct Times {
    absl::Time now;
    absl::Time steady_now;
  };
  Transaction(Connection& db, int64_t next_seq, Times times)
      : db_(db), next_seq_(next_seq), first_seq_(next_seq), times_(times) {}

  Connection& db_;
  int64_t next_seq_;
  const int64_t first_seq_;
  const Times times_;
  int64_t bytes_ = 0;
  std::vector<EventRecord> events_;
};

class Writer {
 public:
  using Change = std::function<absl::Status(Transaction&)>;
  using Done = std::function<void(const absl::Status&)>;
  // Called on the writer's thread after each commit, in order, with the events of all its changes.
  using Listener = std::function<void(const std::vector<EventRecord>&)>;
  // Called at the end of each change that has events, in its transaction, with these events. Must
  // not append further ones. Its error is that of the change.
  using BeforeEnd = std::function<absl::Status(Transaction&, const std::vector<EventRecord>&)>;
  using Clock = std::function<absl::Time()>;
  struct Clocks {
    // Transaction::now and Transaction::steady_now.
    Clock system;
    Clock steady;
  };

  struct Hooks {
    Listener listener;
    // Null = nothing.
    BeforeEnd before_end;
    // Called on the writer's thread once a group of changes is committed or rolled back.
    std::function<void()> after_group = [] {};
  };

  // `next_seq` is the sequence number of the next event.
  Writer(std::unique_ptr<Connection> db, int64_t next_seq, Hooks hooks, Clocks clocks);
  // Commits the queued changes, then ends the thread.
  ~Writer();

  // Runs `change` and returns once it is durable. A failed change stores nothing and does not
  // affect the other changes of its group. Errors: of `change`; ResourceExhausted with reason DISK
  // on a full disk (later changes succeed once there is space).
  absl::Status Run(Change change);
  // As Run, without waiting. `done` is called on the writer's thread.
  void Post(Change change, Done done);

 private:
  struct Item {
    Change change;
    Done done;
    absl::Status status;
  };
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !queue_.empty() || stopping_;
  }
  void Loop();
  void Commit(std::deque<Item>& group);
  // *undone = false: a failed change could not be rolled back without the rest of its group.
  absl::Status RunInSavepoint(Item& item, std::vector<EventRecord>* events, bool* undone);

  const std::unique_ptr<Connection> db_;
  const Hooks hooks_;
  const Clocks clocks_;
  // Writer's thread only.
  int64_t next_seq_;

  absl::Mutex mutex_;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace trainerd::server
