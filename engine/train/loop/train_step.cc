// SPDX-License-Identifier: Apache-2.0
#include "engine/train/loop/train_step.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/core/job_error.h"
#include "engine/data/batches/counter_rng.h"
#include "engine/model/preference.h"
#include "engine/optim/global_norm.h"
#include "engine/optim/lr_schedule.h"
#include "engine/platform/torch_status.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/status_macros.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

constexpr size_t kListedExamples = 32;
// As torch.nn.utils.clip_grad_norm_.
constexpr double kClipEps = 1e-6;

absl::Status NonFinite(const AttemptContext& context, int64_t step, const StepResult& result,
                       const std::vector<Microbatch>& batches) {
  std::vector<int64_t> examples;
  for (const Microbatch& batch : batches)
    examples.insert(examples.end(), batch.examples.begin(), batch.examples.end());
  const size_t listed = std::min(examples.size(), kListedExamples);
  const std::string conversations =
      absl::StrCat(absl::StrJoin(examples.begin(), examples.begin() + listed, ", "),
                   listed < examples.size() ? ", …" : "");
  const std::string good =
      context.last_checkpoint.has_value()
          ? absl::StrCat("The last good checkpoint is ", context.last_checkpoint->name(), " (step ",
                         context.last_checkpoint->step(), ")")
          : "There is no checkpoint yet";
  return WithCause(
      absl::FailedPreconditionError(absl::StrCat(
          "step ", step, " was not applied, because it is not finite (loss ", result.loss,
          ", gradient norm ", result.grad_norm, ", learning rate ", result.learning_rates.front(),
          "). ", good, ". Inspect the conversations of the step (counted from 0: ", conversations,
          ") with `trainctl preview`, or lower optimizer.learning_rate")),
      {.code = "NON_FINITE", .cause = v1::JobError::NUMERICS, .retryable = false});
}

// What a step's loss is the mean of: target tokens, or pairs.
int64_t CountTerms(const AttemptContext& context, const std::vector<Microbatch>& batches) {
  int64_t count = 0;
  for (const Microbatch& batch : batches)
    count += context.preference.has_value() ? batch.num_documents() / 2 : batch.target_tokens;
  return count;
}

// Adds the gradients of scale × (the sum of the batch's losses). Returns that sum, with preference
// the sums of TrainPairs; fp64 on the device.
absl::StatusOr<at::Tensor> AddGradients(AttemptContext& context, const Microbatch& batch,
                                        double scale, uint64_t dropout_key) {
  const DeviceBatch on_device = ToDevice(batch, context.device);
  if (!context.preference.has_value()) {
    return context.decoder->ForwardBackward(on_device, scale, dropout_key)
        .to(at::kDouble)
        .view({1});
  }
  PairReference reference{.options = context.preference->options};
  ASSIGN_OR_RETURN(reference.log_probabilities_P2,
                   context.preference->train.Of(batch, context.device));
  return TrainPairs(*context.decoder, on_device, reference, scale, dropout_key);
}

// Computes the gradients of the mean loss of step `step`, which has `terms` terms. Returns the sum
// of AddGradients.
absl::StatusOr<at::Tensor> AccumulateGradients(AttemptContext& context, int64_t step,
                                               const std::vector<Microbatch>& batches,
                                               int64_t terms) {
  context.parameters->ZeroGrad();
  at::Tensor sums = at::zeros({context.preference.has_value() ? kPairSums : 1},
                              at::TensorOptions(at::kDouble).device(context.device));
  const double scale = 1.0 / static_cast<double>(terms);
  const CounterRng dropout(context.config.train().seed(), RngPurpose::kAdapterDropout, step);
  for (const Microbatch& batch : batches) {
    RETURN_IF_ERROR(CheckDiscard(context.control));
    ASSIGN_OR_RETURN(const at::Tensor of_batch, AddGradients(context, batch, scale, dropout.At(0)));
    sums.add_(of_batch);
  }
  return sums;
}

}  // namespace

absl::Status TrainStep(AttemptContext& context, int64_t step, StepResult* result) {
  ASSIGN_OR_RETURN(const std::vector<Microbatch> batches, context.loader->Step(step));
  for (const Microbatch& batch : batches) {
    result->tokens += batch.num_tokens();
    result->target_tokens += batch.target_tokens;
  }
  result->epoch = context.loader->Place(step).epoch_after;
  result->learning_rates = LearningRates(context.config, step, context.state.total_steps);
  RETURN_IF_ERROR(CatchTorch([&]() -> absl::Status {
    const int64_t terms = CountTerms(context, batches);
    ASSIGN_OR_RETURN(const at::Tensor sums, AccumulateGradients(context, step, batches, terms));
    const at::Tensor norm = GlobalNorm(context.parameters->flat_grad()).to(at::kDouble);
    const at::Tensor values = at::cat({norm.view({1}), sums}).cpu();  // the step's one sync
    result->grad_norm = values[0].item<double>();
    result->loss = values[1].item<double>() / static_cast<double>(terms);
    if (context.preference.has_value())
      result->preference = MeansOf(values.narrow(0, 1, kPairSums), terms).metrics;
    return absl::OkStatus();
  }));
  if (!result->IsFinite()) {
    switch (context.config.train().on_non_finite()) {
      case v1::TrainConfig::ON_NON_FINITE_FAIL:
      case v1::TrainConfig::ON_NON_FINITE_UNSPECIFIED:
      case kMinSentinel<v1::TrainConfig::OnNonFinite>:
      case kMaxSentinel<v1::TrainConfig::OnNonFinite>:
        break;
    }
    return NonFinite(context, step, *result, batches);
  }
  const double max_norm = context.config.train().max_grad_norm();
  const double clip = max_norm > 0 ? std::min(1.0, max_norm / (result->grad_norm + kClipEps)) : 1.0;
  const CounterRng rounding(context.config.train().seed(), RngPurpose::kWeightRounding, step);
  context.parameters->set_rounding_key(rounding.At(0));
  return CatchTorch([&] { context.optimizer->Step(result->learning_rates, clip, step); });
}

}  // namespace trainerd::engine
