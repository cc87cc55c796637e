// SPDX-License-Identifier: Apache-2.0
// What each call may do with a remote evaluation, by its state, its newest lease and its deadline.
// Pure: all times are parameters, and those of Store::SteadyNow.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::server {

struct EvaluationState {
  v1::Evaluation::State state = v1::Evaluation::TRIGGERED;
  // The newest lease; empty: none was given.
  std::string lease;
  absl::Time lease_end = absl::InfinitePast();
  absl::Time deadline;
};

enum class EvaluationVerdict {
  kAccepted,
  // The evaluation already is what the call would make it.
  kUnchanged,
  // Another evaluator holds a newer lease.
  kLeaseLost,
  // It has ended otherwise.
  kEnded,
};

// Terminal: exactly one such state is reached, and never left.
bool HasEnded(v1::Evaluation::State state);

// Its deadline has passed, and EXPIRED is not recorded yet. Every call then sees an evaluation that
// has ended.
bool IsExpired(const EvaluationState& evaluation, absl::Time now);

// Whether a lease may be given.
bool IsOnOffer(const EvaluationState& evaluation, absl::Time now);

// An expired lease can be renewed until another one is given.
EvaluationVerdict DecideRenew(const EvaluationState& evaluation, const std::string& lease,
                              absl::Time now);

// `lease` empty: a report without a lease, while none is held. `same_result`: the evaluation has
// ended with what is reported.
EvaluationVerdict DecideReport(const EvaluationState& evaluation, const std::string& lease,
                               bool same_result, absl::Time now);

EvaluationVerdict DecideCancel(const EvaluationState& evaluation, absl::Time now);

}  // namespace trainerd::server
