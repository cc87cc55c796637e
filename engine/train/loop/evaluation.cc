// SPDX-License-Identifier: Apache-2.0
#include "engine/train/loop/evaluation.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "engine/data/batches/data_loader.h"
#include "engine/model/preference.h"
#include "engine/platform/torch_status.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

namespace {

// Losses, and what their mean is over: target tokens, or pairs.
struct LossSum {
  at::Tensor sum;  // fp64 scalar on the device
  int64_t terms = 0;
};

absl::StatusOr<LossSum> SumLosses(Decoder& decoder, const Microbatch& batch,
                                  const Preference* preference) {
  const c10::Device device = decoder.parameters().device();
  const DeviceBatch on_device = ToDevice(batch, device);
  if (preference == nullptr)
    return LossSum{decoder.LossSum(on_device).to(at::kDouble), batch.target_tokens};
  PairReference reference{.options = preference->options};
  ASSIGN_OR_RETURN(reference.log_probabilities_P2, preference->validation.Of(batch, device));
  return LossSum{EvaluatePairs(decoder, on_device, reference)[0], batch.num_documents() / 2};
}

}  // namespace

absl::StatusOr<ValidationLoss> EvaluateLoss(Decoder& decoder, const TokenStore& store,
                                            const PackedSequences& sequences, int64_t batch_size,
                                            const RunControl& control,
                                            const Preference* preference) {
  ValidationLoss result;
  RETURN_IF_ERROR(CatchTorch([&]() -> absl::Status {
    const c10::Device device = decoder.parameters().device();
    int64_t terms = 0;
    at::Tensor sum = at::zeros({}, at::TensorOptions(at::kDouble).device(device));
    const int64_t num_sequences = sequences.size();
    for (int64_t begin = 0; begin < num_sequences; begin += batch_size) {
      RETURN_IF_ERROR(CheckStopRequested(control));
      std::vector<int64_t> numbers;
      for (int64_t i = begin; i < std::min(begin + batch_size, num_sequences); ++i)
        numbers.push_back(i);
      ASSIGN_OR_RETURN(const Microbatch batch, MakeMicrobatch(store, sequences, numbers));
      ASSIGN_OR_RETURN(const LossSum losses, SumLosses(decoder, batch, preference));
      sum.add_(losses.sum);
      terms += losses.terms;
      result.target_tokens += batch.target_tokens;
    }
    if (terms > 0) result.loss = sum.item<double>() / static_cast<double>(terms);
    return absl::OkStatus();
  }));
  return result;
}

}  // namespace trainerd::engine
