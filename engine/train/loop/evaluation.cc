// SPDX-License-Identifier: Apache-2.0
#include "engine/train/loop/evaluation.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "engine/data/batches/data_loader.h"
#include "engine/platform/torch_status.h"
#include "engine/train/attempt_context.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::StatusOr<ValidationLoss> EvaluateLoss(Decoder& decoder, const TokenStore& store,
                                            const PackedSequences& sequences, int64_t batch_size,
                                            const RunControl& control) {
  ValidationLoss result;
  RETURN_IF_ERROR(CatchTorch([&]() -> absl::Status {
    const c10::Device device = decoder.parameters().device();
    at::Tensor sum = at::zeros({}, at::TensorOptions(at::kDouble).device(device));
    const int64_t num_sequences = sequences.size();
    for (int64_t begin = 0; begin < num_sequences; begin += batch_size) {
      RETURN_IF_ERROR(CheckStopRequested(control));
      std::vector<int64_t> numbers;
      for (int64_t i = begin; i < std::min(begin + batch_size, num_sequences); ++i)
        numbers.push_back(i);
      ASSIGN_OR_RETURN(const Microbatch batch, MakeMicrobatch(store, sequences, numbers));
      sum.add_(decoder.LossSum(ToDevice(batch, device)).to(at::kDouble));
      result.target_tokens += batch.target_tokens;
    }
    if (result.target_tokens > 0)
      result.loss = sum.item<double>() / static_cast<double>(result.target_tokens);
    return absl::OkStatus();
  }));
  return result;
}

}  // namespace trainerd::engine
