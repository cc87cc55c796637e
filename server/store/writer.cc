// SPDX-License-Identifier: Apache-2.0
#include "server/store/writer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "server/store/cut_message.h"
#include "server/store/rows/event_rows.h"

namespace trainerd::server {
namespace {

constexpr size_t kMaxGroup = 512;

}  // namespace

absl::Status Transaction::Append(v1::Event event, int flags) {
  if (!event.has_time()) *event.mutable_time() = ToProto(now());
  event.set_seq(next_seq_);
  CutMessage(kMaxEventBytes, &event);
  EventRecord record{.seq = next_seq_,
                     .change = first_seq_,
                     .job = event.job(),
                     .type = EventType(event),
                     .flags = flags,
                     .bytes = std::make_shared<const std::string>(event.SerializeAsString())};
  bytes_ += static_cast<int64_t>(record.bytes->size());
  if (events_.size() >= kMaxChangeEvents || bytes_ > kMaxChangeBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("one change may write ", kMaxChangeEvents,
                                                     " events and ", kMaxChangeBytes, " bytes"));
  }
  RETURN_IF_ERROR(InsertEvent(db_, record));
  ++next_seq_;
  events_.push_back(std::move(record));
  return absl::OkStatus();
}

Writer::Writer(std::unique_ptr<Connection> db, int64_t next_seq, Hooks hooks, Clocks clocks)
    : db_(std::move(db)),
      hooks_(std::move(hooks)),
      clocks_(std::move(clocks)),
      next_seq_(next_seq),
      thread_([this] { Loop(); }) {}

Writer::~Writer() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

absl::Status Writer::Run(Change change) {
  absl::Notification committed;
  absl::Status result;
  Post(std::move(change), [&](const absl::Status& status) {
    result = status;
    committed.Notify();
  });
  committed.WaitForNotification();
  return result;
}

void Writer::Post(Change change, Done done) {
  absl::MutexLock lock(&mutex_);
  queue_.push_back({.change = std::move(change), .done = std::move(done)});
}

void Writer::Loop() {
  while (true) {
    std::deque<Item> group;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Writer::HasWork));
      if (queue_.empty()) return;
      while (!queue_.empty() && group.size() < kMaxGroup) {
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    Commit(group);
  }
}

void Writer::Commit(std::deque<Item>& group) {
  const int64_t first_seq = next_seq_;
  std::vector<EventRecord> events;
  absl::Status status = Query(*db_, "BEGIN IMMEDIATE").Run();
  // An earlier group's rollback failed; roll it back now.
  if (!status.ok() && db_->in_transaction()) {
    db_->Execute("ROLLBACK").IgnoreError();
    status = Query(*db_, "BEGIN IMMEDIATE").Run();
  }
  for (Item& item : group) {
    if (!status.ok()) break;
    bool undone = true;
    item.status = RunInSavepoint(item, &events, &undone);
    // On some errors (disk full) SQLite rolls back the whole transaction, and a further savepoint
    // would be its own transaction. A partial change is never committed.
    if (!db_->in_transaction() || !undone) status = item.status;
  }
  if (status.ok()) status = Query(*db_, "COMMIT").Run();
  if (!status.ok() && db_->in_transaction()) db_->Execute("ROLLBACK").IgnoreError();
  hooks_.after_group();
  if (status.ok()) {
    if (!events.empty()) hooks_.listener(events);
  } else {
    next_seq_ = first_seq;
  }
  for (Item& item : group) {
    item.done(status.ok() ? item.status : Annotate(status, "the change was not stored"));
  }
}

absl::Status Writer::RunInSavepoint(Item& item, std::vector<EventRecord>* events, bool* undone) {
  RETURN_IF_ERROR(Query(*db_, "SAVEPOINT change").Run());
  Transaction transaction(*db_, next_seq_,
                          {.now = clocks_.system(), .steady_now = clocks_.steady()});
  absl::Status status = item.change(transaction);
  if (status.ok() && hooks_.before_end && !transaction.events_.empty())
    status = hooks_.before_end(transaction, transaction.events_);
  if (status.ok()) status = Query(*db_, "RELEASE change").Run();
  if (!status.ok()) {
    *undone = db_->in_transaction() && db_->Execute("ROLLBACK TO change; RELEASE change").ok();
    return status;
  }
  next_seq_ = transaction.next_seq_;
  for (EventRecord& record : transaction.events_) events->push_back(std::move(record));
  return absl::OkStatus();
}

}  // namespace trainerd::server
