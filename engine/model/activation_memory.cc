// SPDX-License-Identifier: Apache-2.0
#include "engine/model/activation_memory.h"

namespace trainerd::engine {

int64_t KeptBytesPerToken(const ModelConfig& config, Precision precision,
                          ActivationCheckpointing checkpointing) {
  const int64_t bytes = config.num_layers * (precision == Precision::kFp32 ? 4 : 2);
  if (checkpointing == ActivationCheckpointing::kFull) return config.hidden_size * bytes;
  // The residual stream before each branch, and the output of a branch that a norm reads. fp32
  // scalars per token (of norms and the softmax) do not count.
  const int64_t norms = config.block.norm_placement == NormPlacement::kPre ? 2 : 4;
  int64_t elements = norms * config.hidden_size + 2 * config.q_size() + 2 * config.kv_size();
  if (checkpointing == ActivationCheckpointing::kNone) {
    elements += 2 * config.intermediate_size;
    if (config.block.qk_norm != QkNorm::kNone) elements += config.q_size() + config.kv_size();
  }
  return elements * bytes;
}

}  // namespace trainerd::engine
