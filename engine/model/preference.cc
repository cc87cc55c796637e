// SPDX-License-Identifier: Apache-2.0
#include "engine/model/preference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

namespace trainerd::engine {
namespace {

// Each document is summed by itself, so that no other one changes its bits.
at::Tensor SumsOfAnswers(const at::Tensor& losses_R, const DeviceBatch& batch) {
  const at::Tensor losses = losses_R.to(at::kDouble);
  std::vector<at::Tensor> sums;
  int64_t begin = 0;
  for (const int64_t targets : batch.answers.targets) {
    sums.push_back(-losses.narrow(0, begin, targets).sum());
    begin += targets;
  }
  if (sums.empty()) return losses.new_zeros({0, 2});
  return at::stack(sums).view({-1, 2});
}

PreferenceLosses LossesOf(const at::Tensor& log_probabilities_P2, const DeviceBatch& batch,
                          const PairReference& reference) {
  return ComputePreferenceLosses({.log_probabilities_P2 = log_probabilities_P2,
                                  .reference_P2 = reference.log_probabilities_P2,
                                  .tokens_P2 = batch.answers.tokens.view({-1, 2})},
                                 reference.options);
}

at::Tensor SumsOfPairs(const at::Tensor& log_probabilities_P2, const at::Tensor& losses_P,
                       const PairReference& reference) {
  const at::Tensor rewards_P2 =
      (log_probabilities_P2 - reference.log_probabilities_P2) * reference.options.beta;
  const at::Tensor chosen = rewards_P2.select(1, 0), rejected = rewards_P2.select(1, 1);
  return at::stack(
      {losses_P.sum(), chosen.sum(), rejected.sum(), (chosen > rejected).to(at::kDouble).sum(),
       log_probabilities_P2.select(1, 0).sum(), log_probabilities_P2.select(1, 1).sum()});
}

}  // namespace

at::Tensor LogProbabilities(Decoder& decoder, const DeviceBatch& batch) {
  return SumsOfAnswers(decoder.TargetLosses(batch), batch);
}

at::Tensor EvaluatePairs(Decoder& decoder, const DeviceBatch& batch,
                         const PairReference& reference) {
  const at::Tensor log_probabilities = LogProbabilities(decoder, batch);
  return SumsOfPairs(log_probabilities, LossesOf(log_probabilities, batch, reference).losses_P,
                     reference);
}

at::Tensor TrainPairs(Decoder& decoder, const DeviceBatch& batch, const PairReference& reference,
                      double gradient_scale, std::optional<uint64_t> dropout_key) {
  // Answers without a target have no gradient.
  if (batch.target_rows.numel() == 0) return EvaluatePairs(decoder, batch, reference);
  at::Tensor sums;
  decoder.ForwardBackward(batch, gradient_scale, dropout_key, [&](const at::Tensor& losses_R) {
    const at::Tensor log_probabilities = SumsOfAnswers(losses_R, batch);
    const PreferenceLosses losses = LossesOf(log_probabilities, batch, reference);
    sums = SumsOfPairs(log_probabilities, losses.losses_P, reference);
    // A target's loss is minus its share of the log-probability.
    return (-losses.gradient_P2)
        .reshape({-1})
        .index_select(0, batch.answers.documents)
        .to(at::kFloat);
  });
  return sums;
}

PairMeans MeansOf(const at::Tensor& sums, int64_t pairs) {
  const double* sum = sums.const_data_ptr<double>();
  const auto mean = [&](size_t i) {
    return sum[i] / static_cast<double>(std::max<int64_t>(pairs, 1));
  };
  PairMeans means{.loss = mean(0)};
  means.metrics.set_chosen_reward(mean(1));
  means.metrics.set_rejected_reward(mean(2));
  means.metrics.set_margin(mean(1) - mean(2));
  means.metrics.set_accuracy(mean(3));
  means.metrics.set_chosen_log_probability(mean(4));
  means.metrics.set_rejected_log_probability(mean(5));
  return means;
}

}  // namespace trainerd::engine
