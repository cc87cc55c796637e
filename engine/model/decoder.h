// SPDX-License-Identifier: Apache-2.0
// The decoder of every supported model: layers of attention and gated MLP around a residual stream,
// as BlockSpec describes them, over the ops of engine/ops. Training and generation share the layer
// loop. Input is a flat sequence of tokens: cu_seqlens isolates the documents, nothing is padded.
// Legend of shape suffixes: T tokens, D hidden size, N query heads, K key/value heads, H head size,
// F MLP size, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/data/batches/batch.h"
#include "engine/model/folder/model_config.h"
#include "engine/model/parameters.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/op_table.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/rotary_attention.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

class KvCache;

// A Microbatch on its device.
struct DeviceBatch {
  // int64 [T].
  at::Tensor ids;
  at::Tensor positions;
  // int64 [T]; kIgnoreIndex where a token carries no loss.
  at::Tensor targets;
  // int64 [target tokens]: their indices in the sequence.
  at::Tensor target_rows;
  Documents documents;
};

DeviceBatch ToDevice(const Microbatch& batch, at::Device device);

// Runs on one device and one rank. Not thread-safe; ATen's exceptions pass through (wrap calls in
// CatchTorch).
class Decoder {
 public:
  // Keeps a reference to `parameters`, which must outlive it.
  Decoder(const ModelConfig& config, ParameterSet& parameters);

  // Adds gradient_scale × d(sum of the targets' negative log-likelihoods)/dθ to each
  // Parameter::grad and returns that sum (fp32 scalar tensor on the device, not scaled, no host
  // sync). With gradient_scale = 1 / target tokens of the whole step, the accumulated gradients are
  // those of the step's mean loss.
  at::Tensor ForwardBackward(const DeviceBatch& batch, double gradient_scale);
  // The same sum without gradients.
  at::Tensor LossSum(const DeviceBatch& batch);
  // fp32 [T, V]: logits of every position. The tests compare them with transformers.
  at::Tensor Logits(const DeviceBatch& batch);
  // Appends `ids` [t], the tokens at positions cache.length() …, to the cache and returns the
  // logits after the last of them, fp32 [V].
  at::Tensor NextLogits(const at::Tensor& ids, KvCache& cache);

  const ModelConfig& config() const { return config_; }
  ParameterSet& parameters() { return parameters_; }

 private:
  // Norms that the model does not have are undefined.
  struct Layer {
    WeightAndGrad attention_norm;
    LinearWeights qkv;
    RotaryAttentionOptions attention;
    // Index in inverse_frequencies_; nullopt: no RoPE.
    std::optional<size_t> rope;
    LinearWeights output;
    WeightAndGrad attention_output_norm;
    WeightAndGrad mlp_norm;
    LinearWeights gate_up;
    LinearWeights down;
    WeightAndGrad mlp_output_norm;
  };
  // Joint projection qkv [T, (N + 2K)·H] of layer `index` → attention's output [T, N·H].
  using Attend =
      absl::FunctionRef<at::Tensor(size_t index, const at::Tensor& qkv, const RotaryTables& rope,
                                   const RotaryAttentionOptions& options)>;

  Layer MakeLayer(int64_t index);
  // The layer loop: final-normed hidden states of `rows` (all if undefined).
  at::Tensor Hidden(const at::Tensor& ids, const at::Tensor& positions, const at::Tensor& rows,
                    Attend attend) const;
  // Hidden with attention inside each document of the batch.
  at::Tensor BatchHidden(const DeviceBatch& batch, const at::Tensor& rows) const;
  at::Tensor Mlp(const Layer& layer, const AddNormed& stream) const;
  // Adds a branch to the residual stream: norms and scales the branch where the model does, then
  // norms the sum for the matrix that reads it next.
  AddNormed AddBranch(const at::Tensor& x_TD, const at::Tensor& branch_TD,
                      const WeightAndGrad& branch_norm, const WeightAndGrad& next_norm) const;
  // The weight that the norm multiplies by. Its gradient is that of the stored weight.
  WeightAndGrad WithOffset(const WeightAndGrad& norm) const;
  LogitsOptions LogitsShape() const;

  ModelConfig config_;
  ParameterSet& parameters_;
  // One entry per distinct RopeSpec: fp32 [H / 2], on the device.
  std::vector<RopeSpec> ropes_;
  std::vector<at::Tensor> inverse_frequencies_;
  std::vector<Layer> layers_;
  // head_ is embedding_ if the model is tied.
  WeightAndGrad embedding_, final_norm_, head_;
};

}  // namespace trainerd::engine
