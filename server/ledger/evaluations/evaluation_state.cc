// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/evaluations/evaluation_state.h"

#include "proto/base/enum_sentinels.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::server {
namespace {

using Evaluation = v1::Evaluation;

bool IsHeld(const EvaluationState& evaluation, absl::Time now) {
  return evaluation.state == Evaluation::LEASED && now < evaluation.lease_end;
}

bool IsOpen(const EvaluationState& evaluation, absl::Time now) {
  return !HasEnded(evaluation.state) && !IsExpired(evaluation, now);
}

}  // namespace

bool HasEnded(Evaluation::State state) {
  switch (state) {
    case Evaluation::TRIGGERED:
    case Evaluation::LEASED:
      return false;
    case Evaluation::COMPLETED:
    case Evaluation::FAILED:
    case Evaluation::EXPIRED:
    case Evaluation::CANCELLED:
      return true;
    case Evaluation::STATE_UNSPECIFIED:
    case kMinSentinel<Evaluation::State>:
    case kMaxSentinel<Evaluation::State>:
      break;
  }
  return true;
}

bool IsExpired(const EvaluationState& evaluation, absl::Time now) {
  return !HasEnded(evaluation.state) && now >= evaluation.deadline;
}

bool IsOnOffer(const EvaluationState& evaluation, absl::Time now) {
  return IsOpen(evaluation, now) && !IsHeld(evaluation, now);
}

EvaluationVerdict DecideRenew(const EvaluationState& evaluation, const std::string& lease,
                              absl::Time now) {
  if (!IsOpen(evaluation, now)) return EvaluationVerdict::kEnded;
  const bool newest = !lease.empty() && lease == evaluation.lease;
  return newest ? EvaluationVerdict::kAccepted : EvaluationVerdict::kLeaseLost;
}

EvaluationVerdict DecideReport(const EvaluationState& evaluation, const std::string& lease,
                               bool same_result, absl::Time now) {
  if (!IsOpen(evaluation, now))
    return same_result ? EvaluationVerdict::kUnchanged : EvaluationVerdict::kEnded;
  const bool may = lease.empty() ? !IsHeld(evaluation, now) : lease == evaluation.lease;
  return may ? EvaluationVerdict::kAccepted : EvaluationVerdict::kLeaseLost;
}

EvaluationVerdict DecideCancel(const EvaluationState& evaluation, absl::Time now) {
  if (evaluation.state == Evaluation::CANCELLED) return EvaluationVerdict::kUnchanged;
  return IsOpen(evaluation, now) ? EvaluationVerdict::kAccepted : EvaluationVerdict::kEnded;
}

}  // namespace trainerd::server
