// SPDX-License-Identifier: Apache-2.0
// How surprising the target of a position is, by the softmax p of its logits. Free of tensors, so
// that the CPU kernels can read it.
#pragma once

namespace trainerd::engine {

enum class SurpriseMeasure {
  kEntropy,     // −Σ p·log p
  kConfidence,  // 1 − max p
  kPerplexity,  // 1 / (p[target] + 1e-10)
  kMargin,      // 1 − (p[target] − largest other p), cut to 0 … 1
};

}  // namespace trainerd::engine
