// SPDX-License-Identifier: Apache-2.0
// Writes the notifications of a change in its transaction: an event that was committed has its
// notifications, whatever happens then.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/fd.h"
#include "server/outbox/notify_targets.h"
#include "server/store/rows/event_record.h"
#include "server/store/writer.h"

namespace trainerd::server {

// What a receiver gets: {"type": "job.WORD", "timestamp", "data": {"job", "event"}}. The job is
// without its configuration, which can hold addresses of other receivers.
std::string NotificationBody(v1::NotifyEvent meaning, const v1::Event& event, v1::Job job);

// It outlives the store, whose writer calls it, and the notifier, which it wakes.
class Outbox {
 public:
  // `targets` outlives the outbox. Errors: of eventfd(2).
  static absl::StatusOr<std::unique_ptr<Outbox>> Create(const NotifyTargets& targets);

  // Writes the notifications of the events of one change, once all its rows are written. Without a
  // target, and for events that nobody is notified about, it runs no statement. A
  // Writer::BeforeEnd.
  absl::Status Write(Transaction& transaction, const std::vector<EventRecord>& events);

  // Wakes the notifier if Write has written anything since the last call. Called after each commit.
  void OnCommit();
  // Wakes the notifier. Thread-safe, never blocks.
  void Wake();
  // Readable after a wake-up, until ClearWake.
  int wake_fd() const { return wake_fd_.get(); }
  void ClearWake();

 private:
  Outbox(const NotifyTargets& targets, Fd wake_fd)
      : targets_(targets), wake_fd_(std::move(wake_fd)) {}

  const NotifyTargets& targets_;
  const Fd wake_fd_;
  // Of the writer's thread.
  bool written_ = false;
};

}  // namespace trainerd::server
