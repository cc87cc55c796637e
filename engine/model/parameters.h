// SPDX-License-Identifier: Apache-2.0
// The model's trained weights: fp32 masters and fp32 gradients in one flat buffer each, and the
// copy that the decoder computes with (the same storage in fp32, a bf16 copy otherwise). Weights
// that the decoder multiplies together (query, key, value; gate, up) are neighbours in the buffer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/model/hf_folder.h"
#include "engine/model/model_config.h"
#include "engine/model/weight_spec.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

// Number format of the computation; masters, gradients and optimizer state are fp32 always.
enum class Precision { kFp32, kBf16 };

// One Hugging Face tensor. All tensors are views into the set's flat buffers.
struct Parameter {
  std::string name;  // Hugging Face
  WeightRole role;
  int64_t layer = -1;
  int64_t offset = 0;  // first element in the flat buffers
  at::Tensor value;    // compute dtype
  at::Tensor master;   // fp32; the same storage as value in Precision::kFp32
  at::Tensor grad;     // fp32
  bool decay = false;  // matrices and embeddings
  at::ScalarType source_dtype =
      at::kFloat;  // of the file that it was loaded from; what the final model is written in
};

// Not thread-safe.
class ParameterSet {
 public:
  // Allocates; values are 0 until Load or InitRandom. Errors: ResourceExhausted with the bytes
  // needed.
  static absl::StatusOr<std::unique_ptr<ParameterSet>> Create(const ModelConfig& config,
                                                              Precision precision,
                                                              at::Device device);

  // Reads every weight into the masters (converted to fp32), remembers each one's dtype, then
  // PublishCompute. Errors: as HfFolder::CheckComplete.
  absl::Status Load(const HfFolder& folder);
  // Matrices and embeddings from Normal(0, initializer_range), norms that multiply by 1, biases 0.
  // Depends on the seed, not on the number of threads. Then PublishCompute.
  absl::Status InitRandom(uint64_t seed);

  absl::Span<Parameter> parameters() { return absl::MakeSpan(parameters_); }
  absl::Span<const Parameter> parameters() const { return parameters_; }
  const Parameter* Find(std::string_view name) const;
  // Neighbouring roles that form one matrix (or one bias).
  struct Group {
    WeightRole first;
    WeightRole last;
  };
  // The group of a layer as the decoder multiplies with it; no bias where the model has none.
  LinearWeights Linear(const Group& weight, const Group& bias, int64_t layer) const;
  // Undefined tensors when the model has no such weight.
  WeightAndGrad Weight(WeightRole role, int64_t layer = -1) const;

  // fp32, 1-D, all parameters with the padding between groups (always 0 in masters and gradients).
  const at::Tensor& flat_master() const { return flat_master_; }
  const at::Tensor& flat_grad() const { return flat_grad_; }
  // Compute dtype; the same tensor as flat_master in fp32.
  const at::Tensor& flat_value() const { return flat_value_; }
  // Runs of elements [begin, end) with the same `decay`, in buffer order, covering the whole
  // buffer.
  struct DecayRun {
    int64_t begin;
    int64_t end;
    bool decay;
  };
  const std::vector<DecayRun>& decay_runs() const { return decay_runs_; }

  void ZeroGrad();
  // Master → compute copy (nothing to do in fp32). Call after each change of the masters.
  void PublishCompute();

  Precision precision() const { return precision_; }
  at::Device device() const { return flat_master_.device(); }
  at::ScalarType compute_dtype() const {
    return precision_ == Precision::kFp32 ? at::kFloat : at::kBFloat16;
  }
  int64_t num_parameters() const { return num_parameters_; }  // without padding

 private:
  ParameterSet() = default;
  const Parameter* FindRole(WeightRole role, int64_t layer) const;
  at::Tensor Joined(const at::Tensor& flat, const Parameter& first, const Parameter& last) const;

  Precision precision_ = Precision::kFp32;
  ModelConfig config_;
  int64_t num_parameters_ = 0;
  at::Tensor flat_master_, flat_grad_, flat_value_;
  std::vector<Parameter> parameters_;
  std::vector<DecayRun> decay_runs_;
};

}  // namespace trainerd::engine
