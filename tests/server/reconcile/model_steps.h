// SPDX-License-Identifier: Apache-2.0
// What can happen next in the world of model_world.h.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/server/reconcile/model_evaluations.h"

namespace trainerd::server::model {

// Every step that can follow on a world.
class Steps : public EvaluationSteps {
 public:
  using EvaluationSteps::EvaluationSteps;

  std::vector<Next> All() {
    Client();
    Worker();
    Machine();
    Others();
    Evaluators();
    if (world_.up != 0) Daemon();
    return std::move(next_);
  }

 private:
  void Client() {
    if (world_.up == 0) return;
    World w = world_;
    if (w.stored == 0) {
      // Crash before: nothing. Crash after: the client repeats the request.
      w.stored = 1;
      w.pending = bounds_.depends != v1::DependencyConfig::CONDITION_UNSPECIFIED &&
                  Judge(w) != DependencyOutcome::kHolds;
      Move(Job::QUEUED, Job::DESIRED_RUN, Job::RESOURCES, &w);
      return Add("SubmitJob commits", w);
    }
    if (w.acknowledged == 0) {
      w.acknowledged = 1;
      Add("SubmitJob is answered, or repeated and answered", w);
    }
    if (w.commands == 0) return;
    for (const JobCommand command :
         {JobCommand::kPause, JobCommand::kResume, JobCommand::kStopGraceful,
          JobCommand::kStopDiscard, JobCommand::kStopForce})
      Command(command);
  }

  void Command(JobCommand command) {
    World w = world_;
    const auto effect =
        ApplyCommand(command, {.state = StateOf(w),
                               .desired_state = DesiredOf(w),
                               .wait_reason = WaitOf(w),
                               .has_verified_checkpoint = w.checkpoint > 0,
                               .save_final_begun = w.save_final != 0 && w.limit_reached == 0,
                               .awaiting_evaluation = w.awaiting != 0});
    if (!effect.ok() || !effect->changed) return;
    --w.commands;
    if (IsActive(effect->state) && command != JobCommand::kResume && w.deadline == 0)
      w.deadline = 1;
    if (IsTerminal(effect->state)) EndEvaluationWait(&w);
    Move(effect->state, effect->desired_state, effect->wait_reason, &w);
    Add(CommandName(command), w);
  }

  void Exit(const char* what, Attempt::End end, World w) {
    w.process = kExited;
    w.record = static_cast<uint8_t>(end);
    Add(what, w);
  }

  static void Save(World* w) {
    if (w->step == 0 || w->saved >= w->step) return;
    w->saved = w->step;
    w->spool |= 2;
  }

  void Worker() {
    World w = world_;
    if (w.process == kSpawned) {
      w.process = w.fenced != 0 ? kNone : kRunning;
      return Add("the shim takes the attempt", w);
    }
    if (w.process != kRunning) return;
    if (w.began == 0) {
      w.began = 1;
      w.spool |= 1;
      Add("the stage Train begins", w);
    } else if (w.action == 0 && w.step < kLastStep) {
      ++w.step;
      Add("a step is done", w);
      Save(&w);
      Add("a step is done and saved", w);
    } else if (w.step == kLastStep && w.saving == 0 && w.action == 0) {
      w.saving = 1;
      w.spool |= 4;
      Add("SaveFinal begins", w);
    }
    w = world_;
    if (w.saving != 0) {
      w.final_model = 1;
      Exit("the final model is complete", Attempt::COMPLETED, w);
      if (w.errors > 0) {
        --w.errors;
        w.final_model = 2;
        Exit("the final model is damaged", Attempt::COMPLETED, w);
      }
    } else if (w.action == internal::PAUSE || w.action == internal::STOP) {
      Save(&w);
      Exit("the worker ends with a checkpoint",
           w.action == internal::PAUSE ? Attempt::PAUSED_OK : Attempt::STOPPED_OK, w);
    } else if (w.action == internal::DISCARD) {
      Exit("the worker ends without a checkpoint", Attempt::DISCARDED, w);
    }
    WorkerErrors();
  }

  void WorkerErrors() {
    World w = world_;
    if (w.deadline == 2 && w.action != 0) {
      w.process = kExited;
      w.escalated = 1;
      Add("the shim kills the worker after the deadline", w);
    }
    w = world_;
    if (w.action == internal::KILL) {
      w.process = kExited;
      w.signalled = 9;
      Add("the shim kills the worker", w);
    }
    w = world_;
    if (w.errors == 0) return;
    --w.errors;
    if (bounds_.space && w.began == 0 && w.saved == 0) {
      w.lacks_space = 1;
      Exit("there is no space for the first checkpoint", Attempt::FAILED, w);
      w.lacks_space = 0;
    }
    Exit("the worker fails", Attempt::FAILED, w);
    w.permanent = 1;
    Exit("the worker fails for good", Attempt::FAILED, w);
    w.permanent = 0;
    w.process = kExited;
    w.signalled = 11;
    Add("the worker crashes", w);
    w.signalled = 0;
    w.process = kGone;
    Add("shim and worker die without a record", w);
    w.process = kRunning;
    if (w.silent == 0) {
      w.silent = 1;
      Add("the shim does not answer", w);
    }
  }

  void Machine() {
    World w = world_;
    if (w.deadline == 1) {
      w.deadline = 2;
      Add("the deadline passes", w);
    }
    w = world_;
    if (w.silent != 0) {
      w.silent = 0;
      Add("the shim answers again", w);
    }
    w = world_;
    if (w.up == 0) {
      w.up = 1;
      w.tracked = w.open != 0 ? kObserved : kUntracked;
      return Add("the daemon starts", w);
    }
    if (w.crashes == 0) return;
    --w.crashes;
    w.up = w.tracked = w.unspawned = w.delivered = w.launches = 0;
    Add("the daemon dies", w);
    if (w.open != 0 && w.errors > 0) {
      --w.errors;
      w.silent = 0;
      w.rebooted = 1;
      if (IsLive(w)) w.process = kGone;
      Add("the machine restarts", w);
    }
  }

  DependencyOutcome Judge(const World& w) {
    Job upstream;
    upstream.set_state(w.upstream < 2    ? Job::RUNNING
                       : w.upstream == 2 ? Job::SUCCEEDED
                                         : Job::FAILED);
    if (w.upstream == 1 || w.upstream == 2) upstream.set_latest_checkpoint("c");
    return JudgeDependency(bounds_.depends, upstream);
  }

  void Others() {
    if (bounds_.depends != v1::DependencyConfig::CONDITION_UNSPECIFIED && world_.upstream < 2) {
      for (uint8_t to = world_.upstream + 1; to <= 3; ++to) {
        World w = world_;
        w.upstream = to;
        Add("the other job gets on", w);
      }
    }
    World w = world_;
    if (!bounds_.preemption || w.rival == 3 || w.stored == 0) return;
    if (w.rival == 0)
      w.rival = 1;
    else if (w.rival == 2)
      w.rival = 3;
    Add("the job of higher priority comes, or ends", w);
  }

  void Daemon() {
    World w = world_;
    if (w.pending != 0) Wake();
    if (w.wait == Job::BACKOFF) {
      Move(Job::QUEUED, DesiredOf(w), Job::RESOURCES, &w);
      Add("the retry delay is over", w);
    }
    if (w.wait == Job::DISK) {
      Move(Job::QUEUED, DesiredOf(w), Job::RESOURCES, &w);
      Add("there is space again", w);
    }
    w = world_;
    if (w.spool != 0) Ingest();
    ScheduleQueue();
    if (w.unspawned != 0) {
      w.unspawned = 0;
      w.process = kSpawned;
      Add("the shim is spawned", w);
      w.process = kNone;
      Add("the shim cannot be spawned", w);
    } else if (w.tracked == kObserved) {
      Reconcile();
    } else if (w.tracked == kEnding && w.spool == 0) {
      Close();
    }
  }

  void Wake() {
    World w = world_;
    switch (Judge(w)) {
      case DependencyOutcome::kPending:
        return;
      case DependencyOutcome::kImpossible:
        Move(Job::FAILED, DesiredOf(w), Job::WAIT_REASON_UNSPECIFIED, &w);
        break;
      case DependencyOutcome::kHolds:
        w.pending = 0;
        if (w.wait == Job::DEPENDENCY) Move(Job::QUEUED, DesiredOf(w), Job::RESOURCES, &w);
    }
    Add("the dependency is judged", w);
  }

  void Ingest() {
    World w = world_;
    const int event = w.spool & -w.spool;
    w.spool = static_cast<uint8_t>(w.spool & ~event);
    if (event == 1 && StateOf(w) == Job::STARTING)
      Move(Job::RUNNING, DesiredOf(w), Job::WAIT_REASON_UNSPECIFIED, &w);
    if (event == 2) Publish(&w);
    if (event == 4) w.save_final = 1;
    // A step was made before.
    if (event != 1) w.conditions = static_cast<uint8_t>(w.conditions & ~kStalled);
    Add("an event is ingested", w);
  }

  void ScheduleQueue() {
    World w = world_;
    const bool queued = StateOf(w) == Job::QUEUED && MayStart(WaitOf(w)) && w.wait != Job::BACKOFF;
    if (!queued && w.rival != 1) return;
    ScheduleInput input{.queue = {},
                        .devices = {{"cpu", true, w.open != 0 || w.rival == 2}},
                        .rules = {.preemption = bounds_.preemption}};
    if (queued && w.attempt < bounds_.attempts)
      input.queue.push_back({.id = "a", .number = 1, .priority = 0, .device = "auto"});
    if (w.rival == 1)
      input.queue.push_back({.id = "b", .number = 2, .priority = 5, .device = "auto"});
    if (w.open != 0) {
      input.running.push_back({.id = "a", .devices = {"cpu"}});
      input.running[0].ending = StateOf(w) == Job::PAUSING || StateOf(w) == Job::STOPPING;
      input.running[0].preemptible =
          StateOf(w) == Job::RUNNING && DesiredOf(w) == Job::DESIRED_RUN && w.save_final == 0;
    }
    const SchedulePlan plan = Schedule(std::move(input));
    for (const Preemption& preemption : plan.preemptions) {
      if (preemption.victim != "a" || preemption.for_job != "b") violation_ = "a wrong victim";
      BeginRequeue(internal::REQUEUE_PREEMPTED, "preemption begins");
    }
    for (const Assignment& assignment : plan.assignments) {
      if (assignment.job_id == "b") {
        w.rival = 2;
        Add("the job of higher priority starts", w);
      } else {
        Open(w);
      }
    }
  }

  void BeginRequeue(internal::RequeueReason reason, const char* what) {
    World w = world_;
    w.requeue = static_cast<uint8_t>(reason);
    w.deadline = 1;
    Move(Job::PAUSING, Job::DESIRED_RUN, Job::WAIT_REASON_UNSPECIFIED, &w);
    Add(what, w);
  }

  // The transaction OpenAttempt. What the attempt before has left is not used again.
  void Open(World w) {
    ++w.attempt;
    w.open = 1;
    w.requeue = w.save_final = w.process = w.record = w.permanent = w.escalated = 0;
    w.signalled = w.fenced = w.rebooted = w.silent = w.began = w.saving = w.action = w.spool = 0;
    w.final_model = w.delivered = w.launches = w.lacks_space = 0;
    if (w.checkpoint == 0) w.conditions = static_cast<uint8_t>(w.conditions & ~kDiskLow);
    w.step = w.checkpoint;
    w.saved = w.checkpoint;
    w.tracked = kObserved;
    w.unspawned = 1;
    w.launches = 1;
    Move(Job::STARTING, DesiredOf(w), Job::WAIT_REASON_UNSPECIFIED, &w);
    Add("the attempt is opened", w);
  }

  void Reconcile() {
    World w = world_;
    const Observation seen = Observe(w);
    const absl::Time now = absl::UnixEpoch() + absl::Hours(1);
    DecideInput input{.state = StateOf(w),
                      .desired_state = DesiredOf(w),
                      .observed = seen.kind,
                      .never_started = seen.never_started,
                      .shim_alive = w.process == kRunning,
                      .boot_changed = w.rebooted != 0,
                      .now = now};
    if (w.deadline != 0) {
      input.end_deadline = w.deadline == 1 ? now + absl::Minutes(1) : now - absl::Minutes(1);
      input.end_requested = now - absl::Minutes(2);
    }
    input.signalled = static_cast<internal::RequestedAction>(w.delivered);
    input.signalled_at = w.delivered != 0 ? now : absl::InfinitePast();
    input.launches = w.launches;
    for (const bool late : {false, true}) {
      if (late && !bounds_.run_limit && !bounds_.slice_limit && !bounds_.stall) break;
      input.run_time_exceeded = late && bounds_.run_limit;
      input.attempt_time_exceeded = late && bounds_.slice_limit;
      input.stalled = late && bounds_.stall;
      const Decision decision = Decide(input);
      // What is stalled differs in the conditions only.
      if (!ShowConditions(decision) && !input.stalled) CarryOut(decision, seen);
    }
  }

  // A transaction of its own. Whether it changed something; the decision is carried out after it.
  bool ShowConditions(const Decision& decision) {
    World w = world_;
    w.conditions = static_cast<uint8_t>((w.conditions & ~kControlLost) |
                                        (decision.control_lost ? kControlLost : 0) |
                                        (decision.stalled ? kStalled : 0));
    Add("the conditions are shown", w);
    return w.conditions != world_.conditions;
  }

  void CarryOut(const Decision& decision, const Observation& seen) {
    World w = world_;
    if (decision.stop_for_limit && w.save_final == 0) {
      w.limit_reached = w.deadline = 1;
      Move(Job::STOPPING, Job::DESIRED_STOP, Job::WAIT_REASON_UNSPECIFIED, &w);
      return Add("limits.max_run_time is over", w);
    }
    if (decision.end_time_slice && w.save_final == 0)
      return BeginRequeue(internal::REQUEUE_ATTEMPT_TIME, "limits.max_attempt_time is over");
    if (decision.control_lost && decision.begin_ending) violation_ = "T7: silence ends an attempt";
    if (decision.relaunch) {
      ++w.launches;
      w.process = kSpawned;
      return Add("the attempt is launched again", w);
    }
    if (decision.signal.has_value()) {
      w.delivered = static_cast<uint8_t>(*decision.signal);
      w.action = std::max(w.action, w.delivered);
    }
    if (decision.kill_by_identity) {
      if (IsLive(w)) w.process = kGone;
      if (seen.never_started) w.fenced = 1;
      w.silent = 0;
    }
    if (decision.begin_ending) {
      if (IsLive(w)) violation_ = "T4: an attempt ends while its process lives";
      w.tracked = kEnding;
    }
    Add("the reconciler acts", w);
  }

  // The scan of the run directory and the transaction CloseAttempt.
  void Close() {
    World w = world_;
    const Observation seen = Observe(w);
    Publish(&w);
    const AttemptVerdict verdict = JudgeAttempt(seen, w.attempt, w.rebooted != 0);
    const bool advanced = w.checkpoint > w.best;
    const auto requeue = static_cast<internal::RequeueReason>(w.requeue);
    const EndOutcome out = DecideEnd(
        {.state = StateOf(w),
         .desired_state = DesiredOf(w),
         .verdict = verdict,
         .has_verified_checkpoint = w.checkpoint > 0,
         .advanced = advanced,
         .failures_without_progress = w.failures,
         .retries = w.retries,
         .max_failures = kMaxFailures,
         .limit_reached = w.limit_reached != 0,
         .requeue = requeue,
         .applied_step = std::max<int64_t>(w.checkpoint, w.step),
         .final_status = w.final_model == 1 ? absl::OkStatus() : absl::DataLossError("damaged"),
         .attempt = w.attempt});
    Blame(advanced, requeue, &w);
    if (requeue == internal::REQUEUE_PREEMPTED && out.wait_reason == Job::PREEMPTED &&
        out.failures_without_progress.value_or(0) > w.failures)
      violation_ = "T8: preemption uses the failure budget";
    if (out.state == Job::FAILED && seen.kind != Kind::kExited && seen.kind != Kind::kGone)
      violation_ = "T7: FAILED without conclusive information";
    w.best = std::max(w.best, w.checkpoint);
    w.failures = static_cast<uint8_t>(out.failures_without_progress.value_or(0));
    w.retries = static_cast<uint8_t>(std::min(3, out.retries.value_or(0)));
    w.save_final = w.open = w.tracked = w.delivered = w.launches = 0;
    w.conditions = static_cast<uint8_t>(w.conditions & ~kOfAttempt);
    if (out.wait_reason == Job::DISK) w.conditions |= kDiskLow;
    MoveOn(out, &w);
    Add("the attempt is closed", w);
  }

  void MoveOn(const EndOutcome& out, World* w) {
    if (out.state == Job::SUCCEEDED && AwaitsEvaluation(w)) return BeginEvaluationWait(w);
    if (out.through_running) Move(Job::RUNNING, out.desired_state, Job::WAIT_REASON_UNSPECIFIED, w);
    if (out.through_paused) Move(Job::PAUSED, out.desired_state, Job::WAIT_REASON_UNSPECIFIED, w);
    Move(out.state, out.desired_state, out.wait_reason, w);
  }
};

}  // namespace trainerd::server::model
