// SPDX-License-Identifier: Apache-2.0
// The one writer of the database. Changes are queued; one thread takes what has queued up, runs
// each in a savepoint and commits them together, so that one fsync acknowledges many changes (group
// commit). Nobody is told OK before the commit.
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
#include "server/store/event_record.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// Limits of one change, so that a watcher's message stays bounded.
constexpr int kMaxChangeEvents = 256;
constexpr int64_t kMaxChangeBytes = 256 * 1024;

// What a change may do; lives on the writer's thread while the change runs.
class Transaction {
 public:
  Connection& db() { return db_; }
  absl::Time now() const { return now_; }
  // Gives the event its sequence number (and the time, if it has none) and stores it. Watchers see
  // it after the commit. Errors: ResourceExhausted beyond the limits of one change.
  absl::Status Append(v1::Event event, int flags = 0);

 private:
  friend class Writer;
  Transaction(Connection& db, int64_t next_seq, absl::Time now)
      : db_(db), next_seq_(next_seq), first_seq_(next_seq), now_(now) {}

  Connection& db_;
  int64_t next_seq_;
  const int64_t first_seq_;
  const absl::Time now_;
  int64_t bytes_ = 0;
  std::vector<EventRecord> events_;
};

class Writer {
 public:
  using Change = std::function<absl::Status(Transaction&)>;
  using Done = std::function<void(const absl::Status&)>;
  // Called on the writer's thread after each commit, in order, with the events of all its changes.
  using Listener = std::function<void(const std::vector<EventRecord>&)>;
  using Clock = std::function<absl::Time()>;

  // `next_seq` is the first sequence number to give out.
  Writer(std::unique_ptr<Connection> db, int64_t next_seq, Listener listener, Clock clock);
  // Commits what is queued, then ends the thread.
  ~Writer();

  // Runs `change` and answers once it is durable. A change that fails leaves nothing behind; others
  // of its group are not touched. On a full disk the answer is ResourceExhausted with reason DISK;
  // later changes are stored again once there is space.
  absl::Status Run(Change change);
  // The same without waiting; `done` is called on the writer's thread.
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
  // `undone`: false when a change that failed could not be taken back without the rest of its
  // group.
  absl::Status RunInSavepoint(Item& item, std::vector<EventRecord>* events, bool* undone);

  const std::unique_ptr<Connection> db_;
  const Listener listener_;
  const Clock clock_;
  int64_t next_seq_;  // writer's thread only

  absl::Mutex mutex_;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace trainerd::server
