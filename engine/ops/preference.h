// SPDX-License-Identifier: Apache-2.0
// Losses of preference tuning on pairs of answers, and their derivatives by the log-probabilities.
// Sources: Rafailov et al., "Direct Preference Optimization" (2023); Azar et al., "A General
// Theoretical Paradigm to Understand Learning from Human Preferences" (2023). IPO compares means
// over the tokens of an answer, as TRL does. Legend: P pairs.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainerd::engine {

enum class PreferenceLoss { kSigmoid, kIpo };

struct PreferenceOptions {
  PreferenceLoss loss = PreferenceLoss::kSigmoid;
  double beta = 0.1;
};

// fp64. Column 0 is the chosen answer, column 1 the rejected one.
struct PreferencePairs {
  // Sums over the tokens of an answer, under the policy and under the reference.
  at::Tensor log_probabilities_P2;
  at::Tensor reference_P2;
  // Tokens of the answers, at least 1.
  at::Tensor tokens_P2;
};

struct PreferenceLosses {
  at::Tensor losses_P;
  // Of each pair's loss, by log_probabilities_P2.
  at::Tensor gradient_P2;
};

// With d = (log-probability − reference) of the chosen answer − that of the rejected one, sigmoid
// is −log σ(beta × d), and IPO is (d − 1 / (2 × beta))² with both log-probabilities divided by the
// tokens of their answer.
PreferenceLosses ComputePreferenceLosses(const PreferencePairs& pairs,
                                         const PreferenceOptions& options);

}  // namespace trainerd::engine
