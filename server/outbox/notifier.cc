// SPDX-License-Identifier: Apache-2.0
#include "server/outbox/notifier.h"

#include <poll.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "server/outbox/delivery_schedule.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr size_t kMaxInProgress = 64;
constexpr absl::Duration kPruneEvery = absl::Hours(1);
// After an error of the database.
constexpr absl::Duration kRetryAfterError = absl::Seconds(1);
constexpr absl::Duration kStopGrace = absl::Seconds(1);
constexpr absl::Duration kMaxWait = absl::Hours(1);

void LogOutcome(const NotificationRow& row) {
  if (row.state == v1::Notification::DELIVERED) {
    spdlog::debug("notification={} target={} delivered", row.number, row.target);
  } else if (row.state == v1::Notification::DEAD) {
    spdlog::error(
        "notification={} target={} given up after {} attempts: {}; `trainctl "
        "notifications retry {}` delivers it again",
        row.number, row.target, row.attempts, row.last_error, row.number);
  } else {
    spdlog::warn("notification={} target={} attempt={} failed: {}", row.number, row.target,
                 row.attempts, row.last_error);
  }
}

// Stores the outcome of an attempt, unless the row has changed since.
absl::Status StoreOutcome(Transaction& t, const internal::DeliveryResult& result) {
  absl::StatusOr<NotificationRow> row = LoadNotification(t.db(), result.number());
  if (absl::IsNotFound(row.status())) return absl::OkStatus();
  RETURN_IF_ERROR(row.status());
  if (row->state != v1::Notification::PENDING) return absl::OkStatus();
  const NotificationRow after =
      AfterAttempt(*std::move(row), result.error(), {.now = t.now(), .steady_now = t.steady_now()});
  LogOutcome(after);
  return StoreNotification(t.db(), after);
}

}  // namespace

Notifier::Notifier(Options options, Parts parts)
    : options_(std::move(options)),
      targets_(parts.targets),
      outbox_(parts.outbox),
      store_(parts.store) {}

Notifier::~Notifier() { Stop(); }

void Notifier::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Notifier::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  outbox_.Wake();
  if (thread_.joinable()) thread_.join();
}

bool Notifier::stopping() {
  absl::MutexLock lock(&mutex_);
  return stopping_;
}

void Notifier::Loop() {
  const absl::Status limited = store_.Change([](Transaction& t) {
    return LimitNotificationTimes(t.db(), t.steady_now() + kMaxBackOff, t.steady_now() + kRetryFor);
  });
  if (!limited.ok()) spdlog::error("cannot read the outbox: {}", std::string(limited.message()));
  while (!stopping()) {
    absl::Duration wait = StoreOutcomes();
    wait = std::min(wait, DeliverDue());
    // What cannot be delivered has its outcome at once.
    if (!outcomes_.empty() && wait > kRetryAfterError) continue;
    wait = std::min({wait, CheckChild(), Prune(), kMaxWait});
    Wait(wait);
  }
  FinishInProgress();
  child_.reset();
}

absl::Duration Notifier::StoreOutcomes() {
  if (outcomes_.empty()) return absl::InfiniteDuration();
  const absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    for (const internal::DeliveryResult& result : outcomes_)
      RETURN_IF_ERROR(StoreOutcome(t, result));
    return absl::OkStatus();
  });
  if (!stored.ok()) {
    // For example on a full disk. Until it is stored, the lane waits.
    spdlog::error("cannot store the outcome of notifications: {}", std::string(stored.message()));
    return kRetryAfterError;
  }
  for (const internal::DeliveryResult& result : outcomes_) in_progress_.erase(result.number());
  outcomes_.clear();
  return absl::InfiniteDuration();
}

absl::Duration Notifier::DeliverDue() {
  const absl::StatusOr<std::vector<NotificationRow>> heads =
      store_.Read([](Connection& db) { return LaneHeads(db); });
  if (!heads.ok()) {
    spdlog::error("cannot read the outbox: {}", std::string(heads.status().message()));
    return kRetryAfterError;
  }
  absl::Duration wait = absl::InfiniteDuration();
  const absl::Time now = store_.SteadyNow();
  for (const NotificationRow& head : *heads) {
    const Lane lane(head.target, head.url);
    const bool busy = std::any_of(in_progress_.begin(), in_progress_.end(),
                                  [&](const auto& other) { return other.second.lane == lane; });
    // The end of another delivery continues here.
    if (busy || in_progress_.size() >= kMaxInProgress) continue;
    if (head.due > now) {
      wait = std::min(wait, head.due - now);
    } else if (!Deliver(head)) {
      wait = std::min(wait, std::max(restart_time_ - SteadyNow(), absl::ZeroDuration()));
    }
  }
  return wait;
}

bool Notifier::Deliver(const NotificationRow& head) {
  absl::StatusOr<internal::Delivery> delivery = targets_.DeliveryTo(head.target, head.url);
  if (!delivery.ok()) {
    internal::DeliveryResult& outcome = outcomes_.emplace_back();
    outcome.set_number(head.number);
    outcome.set_error(std::string(delivery.status().message()));
  } else {
    if (child_ == nullptr && !StartChild()) {
      return false;
    }
    delivery->set_number(head.number);
    delivery->set_body(head.body);
    child_->Send(*delivery);
    busy_time_ = SteadyNow();
  }
  in_progress_[head.number] = {.lane = {head.target, head.url}, .since = SteadyNow()};
  return true;
}

bool Notifier::StartChild() {
  if (SteadyNow() < restart_time_) return false;
  absl::StatusOr<std::unique_ptr<NotifyChild>> child = NotifyChild::Start(options_.program);
  if (child.ok()) {
    child_ = *std::move(child);
    return true;
  }
  OnChildError(std::string(child.status().message()));
  return false;
}

// A delivery that the child had may have been made, so that was an attempt.
void Notifier::OnChildError(const std::string& error) {
  child_.reset();
  const absl::Duration delay =
      BackOff(++child_failures_, options_.restart_after, options_.restart_after_at_most);
  restart_time_ = SteadyNow() + delay;
  spdlog::error("{}; notifications wait, and it is started again after {}", error,
                absl::FormatDuration(delay));
  std::vector<int64_t> known;
  for (const internal::DeliveryResult& outcome : outcomes_) known.push_back(outcome.number());
  for (const auto& [number, delivery] : in_progress_) {
    if (std::find(known.begin(), known.end(), number) != known.end()) continue;
    internal::DeliveryResult& outcome = outcomes_.emplace_back();
    outcome.set_number(number);
    outcome.set_error(error);
  }
  // Those that wait for the child show why.
  const absl::Status noted = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<NotificationRow> heads, LaneHeads(t.db()));
    for (const NotificationRow& head : heads) {
      if (head.due <= t.steady_now())
        RETURN_IF_ERROR(StoreNotificationError(t.db(), head.number, error));
    }
    return absl::OkStatus();
  });
  if (!noted.ok()) spdlog::error("cannot change the outbox: {}", std::string(noted.message()));
}

absl::Duration Notifier::CheckChild() {
  if (child_ == nullptr) return absl::InfiniteDuration();
  const absl::Time now = SteadyNow();
  if (in_progress_.empty()) {
    if (now - busy_time_ >= options_.idle_time) {
      child_.reset();
      return absl::InfiniteDuration();
    }
    return options_.idle_time - (now - busy_time_);
  }
  absl::Time oldest = now;
  for (const auto& [number, delivery] : in_progress_) oldest = std::min(oldest, delivery.since);
  if (now - oldest < options_.answer_within) return options_.answer_within - (now - oldest);
  OnChildError(absl::StrCat("trainerd-notify did not answer for ",
                            absl::FormatDuration(options_.answer_within), " and was killed"));
  return absl::ZeroDuration();
}

absl::Duration Notifier::Prune() {
  const absl::Time now = SteadyNow();
  if (now < prune_time_) return prune_time_ - now;
  prune_time_ = now + kPruneEvery;
  const absl::Status pruned = store_.Change([](Transaction& t) {
    return PruneNotifications(t.db(), t.now() - kKeepDelivered, t.now() - kKeepDead);
  });
  if (!pruned.ok())
    spdlog::error("cannot remove old notifications: {}", std::string(pruned.message()));
  return kPruneEvery;
}

void Notifier::Wait(absl::Duration time) {
  pollfd fds[2] = {{.fd = outbox_.wake_fd(), .events = POLLIN, .revents = 0}, {.fd = -1}};
  if (child_ != nullptr) fds[1] = child_->Events();
  const int64_t milliseconds = absl::ToInt64Milliseconds(
      absl::Ceil(std::max(time, absl::ZeroDuration()), absl::Milliseconds(1)));
  ::poll(fds, 2, static_cast<int>(milliseconds));
  outbox_.ClearWake();
  if (child_ == nullptr) return;
  const size_t before = outcomes_.size();
  const absl::Status exchanged = child_->Exchange(&outcomes_);
  if (outcomes_.size() > before) {
    child_failures_ = 0;
    busy_time_ = SteadyNow();
  }
  if (!exchanged.ok()) OnChildError(std::string(exchanged.message()));
}

void Notifier::FinishInProgress() {
  const absl::Time end = SteadyNow() + kStopGrace;
  StoreOutcomes();
  while (child_ != nullptr && !in_progress_.empty() && SteadyNow() < end) {
    Wait(end - SteadyNow());
    StoreOutcomes();
  }
}

}  // namespace trainerd::server
