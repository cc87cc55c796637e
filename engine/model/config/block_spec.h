// SPDX-License-Identifier: Apache-2.0
// How the layers of a model compute, as far as model families differ in it. A family (families/)
// fills a BlockSpec in from config.json; the decoder implements every combination of its values.
// No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace trainerd::engine {

// Where RMSNorm is applied around each branch (attention, MLP) of a layer.
enum class NormPlacement {
  // x + Branch(Norm(x))
  kPre,
  // x + Norm(Branch(x))
  kPost,
  // x + Norm(Branch(Norm(x)))
  kSandwich,
};

// The function of the gate in the MLP: Down(Activation(Gate(x)) × Up(x)).
enum class Activation {
  kSilu,
  // GELU with the tanh approximation.
  kGeluTanh,
};

// RMSNorm of queries and keys, before RoPE.
enum class QkNorm {
  kNone,
  // Over each head; all heads share one weight of head_dim elements.
  kPerHead,
  // Over all heads of a token at once.
  kAllHeads,
};

// Frequency scaling of Llama 3.1 (rope_type "llama3").
struct Llama3RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position_embeddings = 8192;

  bool operator==(const Llama3RopeScaling&) const = default;
};

// Rotary position embedding.
struct RopeSpec {
  double theta = 10000.0;
  // Positions are divided by it (rope_type "linear").
  double factor = 1.0;
  std::optional<Llama3RopeScaling> llama3;
  // Of each frequency (rope_type "longrope"); empty: 1. The first ones are for documents of at most
  // `original_positions` tokens, the others for longer ones.
  std::vector<double> divisors, long_divisors;
  int64_t original_positions = 0;
  // Cosine and sine are multiplied by it (rope_type "longrope").
  double magnitude = 1.0;
  // Elements of each head that are rotated, from its start; 0: all.
  int64_t rotary_dim = 0;
  // How many frequencies belong to each axis of a token's position ("mrope_section"); empty: there
  // is one axis. The positions of text are equal on all axes.
  std::vector<int64_t> sections;

  bool operator==(const RopeSpec&) const = default;
};

struct LayerSpec {
  // nullopt: the layer has no position embedding.
  std::optional<RopeSpec> rope = RopeSpec{};
  // Tokens that a position attends to, itself included; 0 = all before it.
  int64_t window = 0;
  // The MLP is a mixture of experts (BlockSpec::experts).
  bool has_experts = false;
};

// A router chooses some experts, which are MLPs without biases, for each token.
struct ExpertsSpec {
  int64_t count = 0;
  int64_t per_token = 0;
  // The MLP size of one expert.
  int64_t intermediate_size = 0;
  // The weights of the chosen experts are divided by their sum.
  bool normalizes = false;
  // Factor of the load-balancing loss, which is added to the training loss; 0: none.
  double balance_factor = 0.0;
};

struct BlockSpec {
  // One entry per layer.
  std::vector<LayerSpec> layers;
  NormPlacement norm_placement = NormPlacement::kPre;
  // Every norm multiplies by weight + norm_offset.
  double norm_offset = 0.0;
  Activation activation = Activation::kSilu;
  QkNorm qk_norm = QkNorm::kNone;

  // Of the layers that have experts.
  ExpertsSpec experts;

  // Biases of the query, key and value projections; of the attention's output projection; of the
  // three MLP projections.
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;

  // x becomes cap × tanh(x / cap): the attention scores (scaled, before the mask) and the logits.
  std::optional<double> attention_soft_cap;
  std::optional<double> logits_soft_cap;

  // Factors of the embedding, of each branch before it is added to the residual stream, of the
  // attention scores (nullopt: 1 / sqrt(head_dim)), and of the logits before their cap.
  double embedding_scale = 1.0;
  // The factor is rounded to the dtype that the model computes in.
  bool rounds_embedding_scale = false;
  double residual_scale = 1.0;
  std::optional<double> attention_scale;
  double logits_scale = 1.0;
};

}  // namespace trainerd::engine
