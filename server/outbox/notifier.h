// SPDX-License-Identifier: Apache-2.0
// Delivers the outbox: decides what is due, hands it to the child trainerd-notify and stores the
// outcome. All state is in the database, so a crash of the daemon or of the child at any moment
// repeats a delivery at worst. Of each lane (target and url) one notification is in progress.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/outbox/notify_child.h"
#include "server/outbox/notify_targets.h"
#include "server/outbox/outbox.h"
#include "server/store/rows/notification_rows.h"
#include "server/store/store.h"

namespace trainerd::server {

class Notifier {
 public:
  struct Options {
    // Path of trainerd-notify.
    std::string program;
    // The delay before a child that has failed is started again; doubles up to the second one.
    absl::Duration restart_after = absl::Seconds(1);
    absl::Duration restart_after_at_most = absl::Minutes(1);
    // A child that has not answered for this long is killed. A command may take 60 s.
    absl::Duration answer_within = absl::Seconds(120);
    // A child without work ends after this time.
    absl::Duration idle_time = absl::Minutes(1);
  };
  // All outlive the notifier.
  struct Parts {
    const NotifyTargets& targets;
    Outbox& outbox;
    Store& store;
  };
  Notifier(Options options, Parts parts);
  ~Notifier();

  void Start();
  // Ends the thread and the child; deliveries in progress have 1 s to end. Idempotent.
  void Stop();

 private:
  using Lane = std::pair<std::string, std::string>;
  // A delivery that the child has, or whose outcome is not stored yet.
  struct InProgress {
    Lane lane;
    absl::Time since;
  };

  bool stopping() ABSL_LOCKS_EXCLUDED(mutex_);
  void Loop();
  // Each returns the time after which there is something to do again.
  absl::Duration StoreOutcomes();
  absl::Duration DeliverDue();
  absl::Duration CheckChild();
  absl::Duration Prune();
  // Begins the delivery of `head`, or notes why it cannot be made. False: there is no child.
  bool Deliver(const NotificationRow& head);
  bool StartChild();
  void OnChildError(const std::string& error);
  // Waits for the child, a wake-up or the end of `time`, and takes results.
  void Wait(absl::Duration time);
  void FinishInProgress();

  const Options options_;
  const NotifyTargets& targets_;
  Outbox& outbox_;
  Store& store_;

  // The thread's only.
  std::unique_ptr<NotifyChild> child_;
  std::map<int64_t, InProgress> in_progress_;
  std::vector<internal::DeliveryResult> outcomes_;
  int child_failures_ = 0;
  absl::Time restart_time_ = absl::InfinitePast();
  absl::Time busy_time_ = absl::InfinitePast();
  absl::Time prune_time_ = absl::InfinitePast();

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace trainerd::server
