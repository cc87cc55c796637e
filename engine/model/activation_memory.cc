// SPDX-License-Identifier: Apache-2.0
#include "engine/model/activation_memory.h"

namespace trainerd::engine {

int64_t KeptBytesPerToken(const ModelConfig& config, Precision precision,
                          ActivationCheckpointing checkpointing) {
  const int64_t element_bytes = precision == Precision::kFp32 ? 4 : 2;
  const int64_t bytes = config.num_layers * element_bytes;
  if (checkpointing == ActivationCheckpointing::kFull) return config.hidden_size * bytes;
  // The residual stream before each branch, and the output of a branch that a norm reads. fp32
  // scalars per token (of norms and the softmax) do not count.
  const int64_t norms = config.block.norm_placement == NormPlacement::kPre ? 2 : 4;
  int64_t elements = norms * config.hidden_size + 2 * config.q_size() + 2 * config.kv_size();
  if (checkpointing != ActivationCheckpointing::kNone) return elements * bytes;
  if (config.block.qk_norm != QkNorm::kNone) elements += config.q_size() + config.kv_size();
  int64_t total = elements * bytes;
  const ExpertsSpec& experts = config.block.experts;
  for (const LayerSpec& layer : config.block.layers) {
    total += element_bytes * 2 *
             (layer.has_experts ? experts.per_token * experts.intermediate_size
                                : config.intermediate_size);
    if (!layer.has_experts) continue;
    // fp32: the probabilities and the sum of the chosen ones. Of each choice of an expert: the
    // weight in fp32 and in the compute dtype, and three int64 for its place.
    total += 4 * (experts.count + 1) + experts.per_token * (4 + element_bytes + 3 * 8);
  }
  return total;
}

}  // namespace trainerd::engine
