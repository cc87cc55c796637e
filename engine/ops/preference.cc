// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/preference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {

PreferenceLosses ComputePreferenceLosses(const PreferencePairs& pairs,
                                         const PreferenceOptions& options) {
  const at::Tensor ratios_P2 = pairs.log_probabilities_P2 - pairs.reference_P2;
  switch (options.loss) {
    case PreferenceLoss::kSigmoid: {
      const at::Tensor x = (ratios_P2.select(1, 0) - ratios_P2.select(1, 1)) * options.beta;
      const at::Tensor slope = at::sigmoid(-x) * options.beta;
      return {-at::log_sigmoid(x), at::stack({-slope, slope}, 1)};
    }
    case PreferenceLoss::kIpo: {
      const at::Tensor means_P2 = ratios_P2 / pairs.tokens_P2;
      const at::Tensor x =
          means_P2.select(1, 0) - means_P2.select(1, 1) - 1.0 / (2.0 * options.beta);
      return {x.square(), at::stack({x * 2.0, x * -2.0}, 1) / pairs.tokens_P2};
    }
  }
  return {};
}

}  // namespace trainerd::engine
