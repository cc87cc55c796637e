// SPDX-License-Identifier: Apache-2.0
#include "client/view/live_state.h"

#include "proto/contract/job/job_state.h"
#include "proto/contract/job/progress.h"

namespace trainerd::client {
namespace {

constexpr size_t kMaxPoints = 4096;

void SetCondition(const v1::Job::Condition& condition, v1::Job* job) {
  for (auto& known : *job->mutable_conditions()) {
    if (known.type() != condition.type()) continue;
    known = condition;
    return;
  }
  *job->add_conditions() = condition;
}

void ApplyStateChange(const v1::Event& event, LiveJob* live) {
  const v1::StateChanged& change = event.state_changed();
  v1::Job& job = live->job;
  job.set_state(change.to_state());
  job.set_desired_state(change.desired_state());
  job.set_wait_reason(change.wait_reason());
  if (change.attempt() > 0) job.set_attempt(change.attempt());
  if (change.has_error()) {
    *job.mutable_error() = change.error();
  } else if (change.to_state() == v1::Job::RUNNING || change.to_state() == v1::Job::SUCCEEDED) {
    job.clear_error();
  }
  if (IsTerminal(change.to_state())) *job.mutable_end_time() = event.time();
  if (!IsActive(change.to_state())) {
    job.clear_devices();
    live->stage.reset();
  }
}

void ApplyStage(const v1::StageEvent& stage, LiveJob* live) {
  if (!stage.finished()) {
    live->stage = stage;
  } else if (live->stage && live->stage->stage() == stage.stage()) {
    live->stage.reset();
  }
}

void ApplyCheckpoint(const v1::Event& event, LiveJob* live) {
  const v1::CheckpointEvent::Kind kind = event.checkpoint().kind();
  if (kind == v1::CheckpointEvent::PUBLISHED || kind == v1::CheckpointEvent::VERIFIED ||
      kind == v1::CheckpointEvent::ADOPTED) {
    live->checkpoint = event;
  }
}

// The part of an event that does not depend on the snapshot.
void ApplyCurves(const v1::Event& event, LiveJob* live) {
  switch (event.body_case()) {
    case v1::Event::kMetrics:
      live->metrics = event.metrics();
      if (event.metrics().has_loss())
        live->losses.Add(event.metrics().step(), event.metrics().loss());
      break;
    case v1::Event::kEval:
      if (!live->first_eval) live->first_eval = event.eval();
      live->last_eval = event.eval();
      break;
    case v1::Event::kCheckpoint:
      ApplyCheckpoint(event, live);
      break;
    case v1::Event::kAlert:
      if (event.alert().active()) {
        live->alerts[event.alert().type()] = event.alert();
      } else {
        live->alerts.erase(event.alert().type());
      }
      break;
    case v1::Event::kStateChanged:
      // Alerts belong to an attempt.
      if (event.state_changed().to_state() == v1::Job::STARTING) live->alerts.clear();
      break;
    case v1::Event::kRunSummary:
      live->summary = event.run_summary();
      break;
    default:
      break;
  }
}

}  // namespace

void LossHistory::Add(int64_t step, double loss) {
  while (!steps_.empty() && steps_.back() >= step) {
    steps_.pop_back();
    losses_.pop_back();
  }
  steps_.push_back(step);
  losses_.push_back(loss);
  if (steps_.size() < kMaxPoints) return;
  // Halves the points: each pair becomes its mean, at the later step.
  const size_t half = steps_.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    steps_[i] = steps_[2 * i + 1];
    losses_[i] = (losses_[2 * i] + losses_[2 * i + 1]) / 2;
  }
  steps_.resize(half);
  losses_.resize(half);
}

void LiveState::SetSnapshot(const v1::Job& job) { jobs_[job.name()].job = job; }

void LiveState::Apply(const v1::Event& event) {
  // A notice of the daemon itself.
  if (event.job().empty()) return;
  LiveJob& live = jobs_[event.job()];
  live.job.set_name(event.job());
  ApplyCurves(event, &live);
  ApplyToProgress(event, live.job.mutable_progress());
  switch (event.body_case()) {
    case v1::Event::kStateChanged:
      ApplyStateChange(event, &live);
      break;
    case v1::Event::kStage:
      ApplyStage(event.stage(), &live);
      break;
    case v1::Event::kConditionChanged:
      SetCondition(event.condition_changed().condition(), &live.job);
      break;
    case v1::Event::kAttemptEvent:
      live.job.set_attempt(event.attempt_event().attempt().number());
      if (event.attempt_event().attempt().end() == v1::Attempt::END_UNSPECIFIED) {
        *live.job.mutable_devices() = event.attempt_event().attempt().devices();
      }
      break;
    case v1::Event::kCheckpoint:
      if (event.checkpoint().kind() == v1::CheckpointEvent::VERIFIED)
        live.job.set_latest_checkpoint(event.checkpoint().checkpoint().name());
      break;
    default:
      break;
  }
}

void LiveState::ApplyHistory(const v1::Event& event) {
  const auto found = jobs_.find(event.job());
  if (found != jobs_.end()) ApplyCurves(event, &found->second);
}

const LiveJob* LiveState::Find(const std::string& name) const {
  const auto found = jobs_.find(name);
  return found == jobs_.end() ? nullptr : &found->second;
}

}  // namespace trainerd::client
