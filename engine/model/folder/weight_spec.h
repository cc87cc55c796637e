// SPDX-License-Identifier: Apache-2.0
// The weights of a model: role, Hugging Face name and shape of each. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/config/model_config.h"

namespace trainerd::engine {

// What a weight is to the decoder. The order is the order in the flat parameter buffer: query, key
// and value (and gate and up) are adjacent, so that each group is one matrix. Where it is one
// matrix in the file, it has the first role.
enum class WeightRole {
  kEmbedding,
  // Norms in front of attention and MLP.
  kAttentionNorm,
  kQuery,
  kKey,
  kValue,
  kQueryBias,
  kKeyBias,
  kValueBias,
  kQueryNorm,
  kKeyNorm,
  kOutput,
  kOutputBias,
  // Norm of the attention's output.
  kAttentionOutputNorm,
  kMlpNorm,
  kGate,
  kUp,
  kGateBias,
  kUpBias,
  kDown,
  kDownBias,
  // Of a mixture of experts. Gate and up of each expert are adjacent.
  kRouter,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  // Norm of the MLP's output.
  kMlpOutputNorm,
  kFinalNorm,
  kHead,
  // Of a LoRA adapter (adapter.h).
  kAdapterA,
  kAdapterB,
};

inline bool IsOfExperts(WeightRole role) {
  return role >= WeightRole::kRouter && role <= WeightRole::kExpertDown;
}

inline bool IsOfAdapter(WeightRole role) {
  return role == WeightRole::kAdapterA || role == WeightRole::kAdapterB;
}

// What optimizers distinguish: a weight's role without its position in the model.
enum class ParameterGroup { kMatrix, kEmbedding, kHead, kNorm, kBias };
ParameterGroup GroupOf(WeightRole role);

inline constexpr char kHeadName[] = "lm_head.weight";
std::string EmbeddingName(const WeightNames& names);

// The decoder multiplies query, key and value at once, and gate and up: the first role of the joint
// matrix (or bias) that `role` belongs to, else `role`.
WeightRole FirstOfJoint(WeightRole role);

struct WeightSpec {
  WeightRole role;
  // -1: not in a layer.
  int64_t layer = -1;
  // Hugging Face.
  std::string name;
  std::vector<int64_t> shape;
  // -1: not of an expert.
  int64_t expert = -1;
};

// All weights of the model, in buffer order. A tied model has no head.
std::vector<WeightSpec> WeightsOf(const ModelConfig& config);

}  // namespace trainerd::engine
