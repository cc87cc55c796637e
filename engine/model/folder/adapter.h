// SPDX-License-Identifier: Apache-2.0
// A LoRA adapter: the layers that it changes, and its tensors by name and shape. No LibTorch.
// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021); names and shapes
// are those of PEFT.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/weight_spec.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// A layer whose matrix W [out, in] becomes W + scale × B A. For the embedding, `in` is the
// vocabulary and `out` the hidden size: its output becomes (W + scale × (B A)ᵀ)[ids].
// A tied model has a target for the embedding (kEmbedding) and one for the head (kHead), as PEFT
// wraps the two modules. They share W, not A and B: an adapter of one leaves the other as it is.
struct AdapterTarget {
  // Of the matrix in the model.
  WeightRole role;
  int64_t layer = -1;
  // Hugging Face name without ".weight": "model.layers.0.self_attn.q_proj".
  std::string module;
  int64_t in = 0;
  int64_t out = 0;
};

struct AdapterSpec {
  int64_t rank = 0;
  double alpha = 0.0;
  // Probability that an element of the input of A is set to 0 in a training step.
  double dropout = 0.0;
  // Rank-stabilized LoRA (Kalajdzievski 2023).
  bool rslora = false;
  // As adapter_config.json lists them.
  std::vector<std::string> target_modules;
  // In the order of WeightsOf; at least one.
  std::vector<AdapterTarget> targets;

  // alpha / rank, or alpha / sqrt(rank).
  double scale() const;
};

// Every layer of the model that can have an adapter, in the order of WeightsOf; a tied head is the
// last.
std::vector<AdapterTarget> AdaptableLayers(const ModelConfig& config);
// Whether the layer is in a block: neither the embedding nor the head.
bool IsInBlock(const AdapterTarget& target);
// Whether `name` stands for `module` as PEFT reads a list of target modules: it is the module's
// name or its last parts.
bool NamesModule(const std::string& name, const std::string& module);
// The shortest list of names that stands for `targets` and for no other layer of the model.
std::vector<std::string> TargetModuleNames(const std::vector<AdapterTarget>& targets,
                                           const ModelConfig& config);

// The adapter that a job with `lora` (resolved, without adapter_path) trains. Errors:
// InvalidArgument for a name that matches no layer, with the nearest ones.
absl::StatusOr<AdapterSpec> ResolveAdapter(const v1::LoraConfig& lora, const ModelConfig& config);

// A [rank, in] and B [out, rank] of each target, named as in adapter_model.safetensors:
// base_model.model.MODULE.lora_A.weight, of the embedding base_model.model.MODULE.lora_embedding_A.
// In buffer order: the matrices A of targets that the decoder multiplies together (query, key,
// value; gate, up) are neighbors, and so are their matrices B.
std::vector<WeightSpec> AdapterWeights(const AdapterSpec& adapter);

// Name of one of them; `matrix` is kAdapterA or kAdapterB.
std::string AdapterWeightName(const AdapterTarget& target, WeightRole matrix);

// Whether the model with the adapter merged into it is no longer tied: the embedding or the head
// has an adapter, and `is_tied` the model without it.
bool MergeUnties(const AdapterSpec& adapter, bool is_tied);

}  // namespace trainerd::engine
