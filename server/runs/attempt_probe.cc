// SPDX-License-Identifier: Apache-2.0
#include "server/runs/attempt_probe.h"

#include <utility>

namespace trainerd::server {

AttemptProbe::AttemptProbe(Executor& executor, AttemptRef attempt, RunCall run_call,
                           std::function<void()> wake)
    : executor_(executor),
      attempt_(std::move(attempt)),
      run_call_(std::move(run_call)),
      wake_(std::move(wake)) {}

void AttemptProbe::RequestObservation() {
  {
    absl::MutexLock lock(&mutex_);
    observation_requested_ = true;
    if (std::exchange(working_, true)) return;
  }
  run_call_([self = shared_from_this()] { self->Work(); });
}

std::optional<Observation> AttemptProbe::TakeObservation() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(observation_, std::nullopt);
}

void AttemptProbe::RequestDelivery(internal::RequestedAction action, absl::Duration grace) {
  {
    absl::MutexLock lock(&mutex_);
    if (delivering_ == action) return;
    delivery_requested_ = {.action = action, .grace = grace};
    if (std::exchange(working_, true)) return;
  }
  run_call_([self = shared_from_this()] { self->Work(); });
}

std::optional<AttemptProbe::Delivery> AttemptProbe::TakeDelivery() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(delivery_, std::nullopt);
}

void AttemptProbe::Work() {
  while (true) {
    std::optional<Request> request;
    {
      absl::MutexLock lock(&mutex_);
      request = std::exchange(delivery_requested_, std::nullopt);
      if (request.has_value()) {
        delivering_ = request->action;
      } else if (!std::exchange(observation_requested_, false)) {
        working_ = false;
        return;
      }
    }
    request.has_value() ? Deliver(*request) : Observe();
  }
}

void AttemptProbe::Observe() {
  Observation observation = executor_.Observe(attempt_);
  bool changed = false;
  {
    absl::MutexLock lock(&mutex_);
    changed = last_kind_ != observation.kind;
    last_kind_ = observation.kind;
    observation_ = std::move(observation);
  }
  if (changed) wake_();
}

void AttemptProbe::Deliver(const Request& request) {
  absl::Status status = executor_.Signal(attempt_, request.action, request.grace);
  // A failure does not wake the caller: it would repeat the request without a pause.
  const bool delivered = status.ok();
  {
    absl::MutexLock lock(&mutex_);
    delivering_.reset();
    delivery_ = {.action = request.action, .status = std::move(status)};
  }
  if (delivered) wake_();
}

}  // namespace trainerd::server
