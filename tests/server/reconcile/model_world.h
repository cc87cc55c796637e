// SPDX-License-Identifier: Apache-2.0
// The model that model_check_test.cc explores: one job with its row in the database, its folders on
// disk, its processes and the memory of the daemon; beside it a job that it depends on, one of
// higher priority, and a remote evaluation with two evaluators. What the daemon decides comes from
// its own pure functions; the transactions around them are modelled, each as one step.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/contract/job/job_state.h"
#include "server/ledger/dependencies.h"
#include "server/ledger/evaluations/evaluation_state.h"
#include "server/ledger/queue_wait.h"
#include "server/reconcile/attempt_end.h"
#include "server/reconcile/decide.h"
#include "server/reconcile/scheduler.h"
#include "trainerd/internal/store.pb.h"
#include "trainerd/v1/evaluation.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server::model {

using Job = v1::Job;
using Attempt = v1::Attempt;
using Evaluation = v1::Evaluation;
using Kind = Observation::Kind;

constexpr int kLastStep = 2;
constexpr int kMaxFailures = 2;

// What a run of the check varies.
struct Bounds {
  // Condition of depends_on; UNSPECIFIED: the job depends on nothing.
  v1::DependencyConfig::Condition depends = v1::DependencyConfig::CONDITION_UNSPECIFIED;
  bool preemption = false;
  bool run_limit = false;
  bool slice_limit = false;
  // A worker makes no step for long.
  bool stall = false;
  // The disk can be too full for the first checkpoint.
  bool space = false;
  // Entry of evaluation.remote: each checkpoint, or the final model, which is required. Together,
  // its evaluators lease and renew so often.
  bool evaluate_checkpoints = false;
  bool evaluate_final = false;
  int leases = 0;
  // How often a user, the daemon's end, and an error of worker, shim or machine intervene.
  int commands = 0;
  int crashes = 0;
  int errors = 0;
  int attempts = 3;
};

// All of it is bytes, so that it is its own key.
struct World {
  // The client and the database.
  uint8_t stored, acknowledged;
  uint8_t state, desired, wait, requeue;
  uint8_t attempt, open;
  uint8_t checkpoint, best;  // steps of the newest verified checkpoint, now and at the last count
  uint8_t failures, retries;
  uint8_t save_final, limit_reached, pending;
  uint8_t deadline;    // 0 none, 1 running, 2 over
  uint8_t conditions;  // Condition
  uint8_t awaiting;    // ledger.awaiting_evaluation
  // The first evaluation of the entry: Evaluation::State, 0 = not triggered; its result (1 metrics,
  // 2 error); the number of the newest lease, whether it is valid, whether the deadline is over.
  uint8_t evaluation, required, result, lease, held, expired;
  // The disk: step of the newest complete checkpoint; the final model: 0 none, 1 good, 2 damaged.
  uint8_t saved, final_model;
  // The processes of the newest attempt.
  uint8_t process;  // Process
  uint8_t record;   // Attempt::End in the worker's record; 0 = none
  uint8_t permanent, lacks_space, escalated, signalled, fenced, rebooted, silent;
  uint8_t step, began, saving, action;
  uint8_t spool;  // 1 Train began, 2 checkpoint, 4 SaveFinal began
  // The daemon's memory.
  uint8_t up, tracked, unspawned, delivered, launches;
  // Others: the job that this one depends on, and one of higher priority.
  uint8_t upstream;  // 0 runs, 1 has a checkpoint, 2 SUCCEEDED, 3 FAILED
  uint8_t rival;     // 0 not yet, 1 queued, 2 has the device, 3 ended
  uint8_t known[2];  // the lease that each evaluator knows
  // What is left of Bounds.
  uint8_t commands, crashes, errors, leases;
  // Not known to the daemon: ends that may count as failures since the last progress.
  uint8_t blamed;

  std::string_view key() const { return {reinterpret_cast<const char*>(this), sizeof(World)}; }
  bool operator==(const World& other) const { return key() == other.key(); }
};

enum Process : uint8_t { kNone, kSpawned, kRunning, kExited, kGone };
enum Tracked : uint8_t { kUntracked, kObserved, kEnding };
enum Condition : uint8_t { kControlLost = 1, kStalled = 2, kDiskLow = 4, kAwaitsEvaluation = 8 };
constexpr uint8_t kOfAttempt = kControlLost | kStalled;

inline Job::State StateOf(const World& w) { return static_cast<Job::State>(w.state); }
inline Job::DesiredState DesiredOf(const World& w) {
  return static_cast<Job::DesiredState>(w.desired);
}
inline Job::WaitReason WaitOf(const World& w) { return static_cast<Job::WaitReason>(w.wait); }
inline bool IsLive(const World& w) { return w.process == kSpawned || w.process == kRunning; }

inline World FirstWorld(const Bounds& bounds) {
  World w;
  std::memset(&w, 0, sizeof(w));
  w.up = 1;
  w.commands = static_cast<uint8_t>(bounds.commands);
  w.crashes = static_cast<uint8_t>(bounds.crashes);
  w.errors = static_cast<uint8_t>(bounds.errors);
  w.leases = static_cast<uint8_t>(bounds.leases);
  return w;
}

// What the executor finds.
inline Observation Observe(const World& w) {
  Observation o;
  if (w.silent != 0) return o;
  const auto add_record = [&] {
    if (w.record == 0) return;
    internal::WorkerExitRecord& record = o.worker_exit.emplace();
    record.set_end(static_cast<Attempt::End>(w.record));
    record.set_last_step(w.step);
    if (w.record != Attempt::FAILED) return;
    record.mutable_error()->set_code("E");
    record.mutable_error()->set_retryable(w.permanent == 0);
    record.set_needed_bytes(w.lacks_space);
  };
  switch (w.process) {
    case kSpawned:
      o.kind = Kind::kPending;
      break;
    case kRunning:
      o.kind = Kind::kRunning;
      break;
    case kExited:
      o.kind = Kind::kExited;
      o.exit.emplace().set_signal(w.signalled);
      o.exit->set_killed_by_escalation(w.escalated != 0);
      add_record();
      break;
    case kGone:
      o.kind = Kind::kGone;
      add_record();
      break;
    default:
      o.kind = w.fenced != 0 ? Kind::kExited : Kind::kGone;
      o.never_started = w.fenced == 0;
      if (w.fenced != 0) o.exit.emplace().set_spawn_error("fenced");
  }
  return o;
}

// How severe the end is that was requested of an attempt.
inline int Severity(const World& w) {
  if (StateOf(w) == Job::PAUSING) return 1;
  return StateOf(w) == Job::STOPPING ? w.desired : 0;
}

inline std::string Describe(const World& w) {
  std::string text = StateName(StateOf(w));
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, int>>{{"desired", w.desired},
                                                          {"wait", w.wait},
                                                          {"attempt", w.attempt},
                                                          {"open", w.open},
                                                          {"checkpoint", w.checkpoint},
                                                          {"saved", w.saved},
                                                          {"final", w.final_model},
                                                          {"failures", w.failures},
                                                          {"process", w.process},
                                                          {"record", w.record},
                                                          {"step", w.step},
                                                          {"action", w.action},
                                                          {"up", w.up},
                                                          {"tracked", w.tracked},
                                                          {"requeue", w.requeue},
                                                          {"rival", w.rival},
                                                          {"upstream", w.upstream},
                                                          {"conditions", w.conditions},
                                                          {"awaiting", w.awaiting},
                                                          {"evaluation", w.evaluation},
                                                          {"lease", w.lease},
                                                          {"held", w.held},
                                                          {"blamed", w.blamed}})
    text.append(" ").append(name).append("=").append(std::to_string(value));
  return text;
}

// T10: conditions and the state change independently, and agree.
inline std::string ConditionViolation(const World& before, const World& after) {
  const bool same_state = before.state == after.state && before.desired == after.desired &&
                          before.wait == after.wait && before.attempt == after.attempt;
  if ((after.conditions & ~before.conditions & kOfAttempt) != 0 && !same_state)
    return "T10: a condition changes the state";
  if ((after.conditions & kOfAttempt) != 0 && after.open == 0)
    return "T10: a condition of an attempt that has ended";
  if (after.wait == Job::DISK && (after.conditions & kDiskLow) == 0)
    return "T10: no condition shows the wait for space";
  if (((after.conditions & kAwaitsEvaluation) != 0) != (after.awaiting != 0))
    return "T10: AwaitingEvaluation is not what the ledger holds";
  const bool idle = after.open == 0 && !IsLive(after);
  if (after.awaiting != 0 && (StateOf(after) != Job::RUNNING || !idle || after.final_model != 1))
    return "T10: it awaits an evaluation of what is not there, or with a device";
  return "";
}

// What evaluations guarantee beside T1 to T11.
inline std::string EvaluationViolation(const World& before, const World& after) {
  const bool ended = HasEnded(static_cast<Evaluation::State>(after.evaluation));
  // The states are numbered in their order, the terminal ones last.
  if (after.evaluation < before.evaluation) return "an evaluation goes back";
  if (before.evaluation >= Evaluation::COMPLETED &&
      (after.evaluation != before.evaluation || after.result != before.result))
    return "an evaluation that has ended changes";
  if (before.awaiting != 0 && StateOf(after) == Job::SUCCEEDED &&
      DesiredOf(after) == Job::DESIRED_RUN && !ended)
    return "SUCCEEDED before the end of its required evaluation";
  if (after.awaiting != 0 && ended) return "the job awaits an evaluation that has ended";
  return "";
}

// Which of T1 to T11 the world, or the step to it, violates; empty: none. T7 is in the steps
// themselves.
inline std::string Violation(const World& before, const World& after) {
  const Job::State state = StateOf(after);
  if (IsTerminal(StateOf(before)) && state != StateOf(before)) return "T1: it had ended";
  const bool same = before.open != 0 && after.open != 0 && before.attempt == after.attempt;
  if (same && Severity(after) < Severity(before)) return "T2: it becomes milder";
  if (same && after.action < before.action) return "T2: the worker hears a milder request";
  if (state != StateOf(before) && !IsTransitionAllowed(StateOf(before), state))
    return "T3: the state table has no such transition";
  if (IsLive(after) && after.open == 0) return "T4: a process without an open attempt";
  if (before.attempt != after.attempt && IsLive(before)) return "T4: two attempts live";
  if (state == Job::PAUSED && (after.checkpoint == 0 || after.saved < after.checkpoint))
    return "T5: nothing to resume from";
  if (state == Job::PAUSED && (IsLive(after) || after.open != 0)) return "T5: it is not idle";
  if (state == Job::STOPPED && (after.checkpoint == 0 || after.saved < after.checkpoint))
    return "T6: its checkpoint is not on disk";
  if (state == Job::SUCCEEDED && after.final_model != 1) return "T11: its model is not good";
  if (after.failures > after.blamed) return "T8: something fair was counted";
  if (state != Job::FAILED && after.failures >= kMaxFailures) return "T8: it should have ended";
  if (after.acknowledged != 0 && after.stored == 0) return "T9: it was acknowledged and is lost";
  if (after.stored != 0 && IsActive(state) != (after.open != 0 || after.awaiting != 0))
    return "the state does not say that an attempt is open";
  if ((state == Job::QUEUED) != (after.wait != 0)) return "only queued jobs wait";
  const std::string violation = ConditionViolation(before, after);
  return violation.empty() ? EvaluationViolation(before, after) : violation;
}

// Ends that are the job's own fault, as far as the processes show.
inline void Blame(bool advanced, internal::RequeueReason requeue, World* w) {
  const bool machine = w->rebooted != 0 && w->process == kGone && w->record == 0;
  if (w->lacks_space != 0) return;
  const bool own = w->record == Attempt::FAILED || w->signalled != 0 || w->escalated != 0 ||
                   w->process == kGone || w->final_model == 2 ||
                   requeue == internal::REQUEUE_ATTEMPT_TIME;
  if (advanced) w->blamed = 0;
  if (own && !machine && !advanced && w->blamed < 9) ++w->blamed;
}

// One possible next step of somebody.
struct Next {
  const char* what;
  World world;
};

// The steps that can follow on a world, as they are found.
class StepList {
 public:
  StepList(const Bounds& bounds, const World& world) : bounds_(bounds), world_(world) {}
  // What a step violates by itself; empty: nothing.
  const std::string& violation() const { return violation_; }

 protected:
  void Add(const char* what, const World& w) {
    if (!(w == world_)) next_.push_back({what, w});
  }

  // A transition (ledger/transition.h): its event makes state, desired state and wait reason.
  void Move(Job::State to, Job::DesiredState desired, Job::WaitReason wait, World* w) {
    if (IsTerminal(StateOf(*w)) || !IsTransitionAllowed(StateOf(*w), to))
      violation_ =
          std::string("T3: no transition from ") + StateName(StateOf(*w)) + " to " + StateName(to);
    if (to == Job::QUEUED && WaitsForDevice(wait) && w->pending != 0) wait = Job::DEPENDENCY;
    w->state = static_cast<uint8_t>(to);
    w->desired = static_cast<uint8_t>(desired);
    w->wait = static_cast<uint8_t>(wait);
    if (!IsActive(to)) w->deadline = 0;
    if (IsTerminal(to)) w->pending = 0;
  }

  const Bounds& bounds_;
  const World& world_;
  std::vector<Next> next_;
  std::string violation_;
};

}  // namespace trainerd::server::model
