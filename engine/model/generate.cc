// SPDX-License-Identifier: Apache-2.0
#include "engine/model/generate.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/model/kv_cache.h"
#include "engine/platform/torch_status.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

at::Tensor IdsOnDevice(absl::Span<const int32_t> ids, at::Device device) {
  return at::from_blob(const_cast<int32_t*>(ids.data()), {static_cast<int64_t>(ids.size())},
                       at::TensorOptions().dtype(at::kInt))
      .to(at::TensorOptions().device(device).dtype(at::kLong));
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> GenerateGreedy(Decoder& decoder,
                                                    absl::Span<const int32_t> prompt,
                                                    const GenerateOptions& options) {
  const ModelConfig& config = decoder.config();
  if (prompt.empty())
    return absl::InvalidArgumentError("the prompt has no tokens; generation needs at least one");
  for (int32_t id : prompt) {
    if (id < 0 || id >= config.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, " of the prompt is outside the model's vocabulary of ",
                       config.vocab_size));
    }
  }
  const int64_t length = static_cast<int64_t>(prompt.size());
  if (length >= config.max_position_embeddings) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", Counted(length, "token"), "; the model has ",
                     Counted(config.max_position_embeddings, "position")));
  }
  const int64_t limit = std::min(options.max_tokens, config.max_position_embeddings - length);

  std::vector<int32_t> result;
  RETURN_IF_ERROR(CatchTorch([&]() -> absl::Status {
    const at::Device device = decoder.parameters().device();
    KvCache cache(config, length + limit,
                  at::TensorOptions().device(device).dtype(decoder.parameters().compute_dtype()));
    at::Tensor ids = IdsOnDevice(prompt, device);
    while (static_cast<int64_t>(result.size()) < limit) {
      if (options.cancelled && options.cancelled())
        return absl::CancelledError("generation was cancelled");
      if (decoder.OutgrowsRope(cache.length(), cache.length() + ids.size(0))) {
        cache.Clear();
        std::vector<int32_t> all(prompt.begin(), prompt.end());
        all.insert(all.end(), result.begin(), result.end());
        ids = IdsOnDevice(all, device);
      }
      const int32_t next =
          static_cast<int32_t>(at::argmax(decoder.NextLogits(ids, cache)).item<int64_t>());
      if (std::find(options.stop_ids.begin(), options.stop_ids.end(), next) !=
          options.stop_ids.end())
        break;
      result.push_back(next);
      ids = IdsOnDevice(absl::MakeConstSpan(&result.back(), 1), device);
    }
    return absl::OkStatus();
  }));
  return result;
}

}  // namespace trainerd::engine
