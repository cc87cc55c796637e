// SPDX-License-Identifier: Apache-2.0
// The remote evaluation in the world of model_world.h: its triggers, its two evaluators, and the
// job that waits for it.
#pragma once

#include <algorithm>

#include "server/ledger/evaluations/trigger.h"
#include "tests/server/reconcile/model_world.h"

namespace trainerd::server::model {

class EvaluationSteps : public StepList {
 public:
  using StepList::StepList;

 protected:
  // The transaction in which a checkpoint becomes known.
  void Publish(World* w) {
    if (w->checkpoint >= w->saved) return;
    w->checkpoint = w->saved;
    Trigger({.kind = TriggerPoint::Kind::kPublished, .step = w->checkpoint, .now = kNow}, w);
    if (bounds_.evaluate_checkpoints && w->evaluation == 0)
      violation_ = "a checkpoint without its evaluation";
  }

  // The transaction in which the final model becomes known. Whether the job waits.
  bool AwaitsEvaluation(World* w) {
    Trigger({.kind = TriggerPoint::Kind::kEnd, .step = w->step, .now = kNow}, w);
    return StateOf(*w) != Job::STOPPING && w->required != 0 && !HasEnded(EvaluationOf(*w).state);
  }

  void BeginEvaluationWait(World* w) {
    if (StateOf(*w) != Job::RUNNING)
      Move(Job::RUNNING, Job::DESIRED_RUN, Job::WAIT_REASON_UNSPECIFIED, w);
    w->awaiting = 1;
    w->conditions |= kAwaitsEvaluation;
    w->deadline = 0;
  }

  static void EndEvaluationWait(World* w) {
    w->awaiting = 0;
    w->conditions = static_cast<uint8_t>(w->conditions & ~kAwaitsEvaluation);
  }

  void Evaluators() {
    if (world_.evaluation == 0) return;
    World w = world_;
    const EvaluationState evaluation = EvaluationOf(w);
    if (w.held != 0) {
      w.held = 0;
      Add("the lease expires", w);
    }
    if (!HasEnded(evaluation.state) && w.expired == 0) {
      w.held = 0;
      w.expired = 1;
      Add("the deadline of the evaluation passes", w);
    }
    if (world_.up == 0) return;
    for (const int evaluator : {0, 1}) {
      Lease(evaluation, evaluator);
      Renew(evaluation, evaluator);
      if (world_.known[evaluator] == 0) continue;
      Report(evaluation, evaluator, /*result=*/1, /*is_answered=*/true);
      Report(evaluation, evaluator, /*result=*/1, /*is_answered=*/false);
      Report(evaluation, evaluator, /*result=*/2, /*is_answered=*/true);
    }
    ReportWithoutLease(evaluation);
    EndByDaemon(evaluation);
  }

 private:
  static inline const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

  static std::string LeaseName(uint8_t number) {
    return number == 0 ? "" : std::string(1, static_cast<char>('a' + number));
  }

  static EvaluationState EvaluationOf(const World& w) {
    return {.state = static_cast<Evaluation::State>(w.evaluation),
            .lease = LeaseName(w.lease),
            .lease_end = w.held != 0 ? kNow + absl::Minutes(1) : kNow,
            .deadline = w.expired != 0 ? kNow : kNow + absl::Hours(1)};
  }

  void Trigger(const TriggerPoint& point, World* w) {
    v1::RemoteTriggerConfig when;
    when.set_every_steps(bounds_.evaluate_checkpoints ? 1 : 0);
    when.set_at_end(bounds_.evaluate_final);
    const Evaluation::Trigger trigger =
        DecideTrigger(when, point, {.triggered = w->evaluation != 0});
    if (trigger == Evaluation::TRIGGER_UNSPECIFIED) return;
    w->evaluation = Evaluation::TRIGGERED;
    w->required = trigger == Evaluation::END;
  }

  // The transaction that ends the evaluation, and the job that waits for it.
  void End(Evaluation::State state, World* w) {
    w->evaluation = static_cast<uint8_t>(state);
    w->held = 0;
    if (w->awaiting == 0) return;
    EndEvaluationWait(w);
    Move(Job::SUCCEEDED, DesiredOf(*w), Job::WAIT_REASON_UNSPECIFIED, w);
  }

  void Lease(const EvaluationState& evaluation, int evaluator) {
    World w = world_;
    // The two are alike.
    if (evaluator > w.lease || w.leases == 0 || !IsOnOffer(evaluation, kNow)) return;
    if (w.held != 0) violation_ = "a lease is given while another one is valid";
    --w.leases;
    ++w.lease;
    w.held = 1;
    w.evaluation = Evaluation::LEASED;
    w.known[evaluator] = 0;
    Add("the answer with a lease is lost", w);
    w.known[evaluator] = w.lease;
    Add("an evaluator gets a lease", w);
  }

  void Renew(const EvaluationState& evaluation, int evaluator) {
    World w = world_;
    if (w.known[evaluator] == 0) return;
    if (DecideRenew(evaluation, LeaseName(w.known[evaluator]), kNow) ==
        EvaluationVerdict::kAccepted) {
      if (w.leases == 0) return;
      if (w.known[evaluator] != w.lease) violation_ = "an older lease is renewed";
      --w.leases;
      w.held = 1;
    } else {
      w.known[evaluator] = 0;
    }
    Add("an evaluator renews its lease, or learns that it has lost it", w);
  }

  void Report(const EvaluationState& evaluation, int evaluator, uint8_t result, bool is_answered) {
    World w = world_;
    const bool is_newest = w.known[evaluator] == w.lease;
    const EvaluationVerdict verdict =
        DecideReport(evaluation, LeaseName(w.known[evaluator]), w.result == result, kNow);
    if (w.result == result && verdict != EvaluationVerdict::kUnchanged)
      violation_ = "a repeated report is refused";
    if (verdict == EvaluationVerdict::kAccepted) {
      if (!is_newest) violation_ = "the report of an older lease is accepted";
      w.result = result;
      End(result == 1 ? Evaluation::COMPLETED : Evaluation::FAILED, &w);
    }
    if (is_answered) w.known[evaluator] = 0;
    Add("an evaluator reports", w);
  }

  void ReportWithoutLease(const EvaluationState& evaluation) {
    World w = world_;
    if (DecideReport(evaluation, "", w.result == 1, kNow) != EvaluationVerdict::kAccepted) return;
    if (w.held != 0) violation_ = "another evaluator holds the lease";
    w.result = 1;
    End(Evaluation::COMPLETED, &w);
    Add("a result is reported without a lease", w);
  }

  void EndByDaemon(const EvaluationState& evaluation) {
    World w = world_;
    if (IsExpired(evaluation, kNow)) {
      End(Evaluation::EXPIRED, &w);
      Add("the evaluation is recorded as expired", w);
    }
    w = world_;
    if (w.commands == 0 || DecideCancel(evaluation, kNow) != EvaluationVerdict::kAccepted) return;
    --w.commands;
    End(Evaluation::CANCELLED, &w);
    Add("CancelEvaluation", w);
  }
};

}  // namespace trainerd::server::model
