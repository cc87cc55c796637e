// SPDX-License-Identifier: Apache-2.0
// The model's weights. Those that train have fp32 masters and fp32 gradients in one flat buffer
// each, and the copy that the decoder computes with (the same storage in fp32, a bf16 copy
// otherwise). Pure bf16 has no masters: the weights are bf16. Frozen ones have only the copy, in a
// buffer of their own. Weights that the decoder multiplies together (query, key, value; gate, up)
// are neighbors, so that they form one matrix.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/adapter.h"
#include "engine/model/folder/freeze.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/folder/kept_tensors.h"
#include "engine/model/folder/weight_spec.h"
#include "engine/ops/nf4.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

// How frozen matrices of the blocks are kept in memory: in the compute dtype, or as NF4 (QLoRA).
enum class Quantization { kNone, kNf4 };

// Number format of the computation. Optimizer state is always fp32.
enum class Precision {
  kFp32,
  // Masters and gradients in fp32.
  kBf16,
  // Pure bf16: weights and gradients in bf16, no masters; updates are rounded stochastically.
  kBf16Sr,
  // The same with fp32 gradients, to sum those of several microbatches.
  kBf16SrAccumulating,
};

inline bool IsPureBf16(Precision precision) {
  return precision == Precision::kBf16Sr || precision == Precision::kBf16SrAccumulating;
}

// One Hugging Face tensor. All tensors but `source` are views into the set's flat buffers.
struct Parameter {
  std::string name;  // Hugging Face
  // In model files: another one in those of older versions of transformers.
  std::string name_in_files;
  WeightRole role;
  int64_t layer = -1;
  int64_t expert = -1;
  // Element type in the file that it was loaded from; the final model is written in it.
  at::ScalarType source_dtype = at::kFloat;
  // Compute dtype. Of a quantized parameter only shape and dtype (device meta).
  at::Tensor value;

  // First element in the flat buffers, or in the buffer of the frozen parameters.
  int64_t offset = 0;

  // Only of a parameter that trains. The master has the same storage as `value`, except in
  // Precision::kBf16.
  at::Tensor master;  // fp32; bf16 in pure bf16
  at::Tensor grad;    // fp32; bf16 in Precision::kBf16Sr

  // Only of a frozen parameter whose source dtype `value` cannot represent exactly: its bytes as
  // loaded, on the CPU.
  at::Tensor source;

  // Only of a frozen matrix that is quantized.
  std::optional<Nf4Matrix> nf4;

  bool trains() const { return grad.defined(); }
  bool is_of_adapter() const { return IsOfAdapter(role); }
  ParameterGroup group() const { return GroupOf(role); }
  // What model files are written from: exact in source_dtype for a frozen parameter; of a quantized
  // one the dequantized matrix in fp32, a new tensor.
  at::Tensor stored() const;
};

// Not thread-safe.
class ParameterSet {
 public:
  // Allocates; values are 0 until Load or InitRandom. The parameters named in `frozen` do not
  // train. With an adapter, its tensors follow those of the model and they alone train; then the
  // matrices of the blocks can be quantized. Embedding, head, norms, biases, routers and experts
  // are not, as in transformers with bitsandbytes.
  // Errors: ResourceExhausted with the bytes needed.
  static absl::StatusOr<std::unique_ptr<ParameterSet>> Create(
      const ModelConfig& config, Precision precision, at::Device device,
      const FrozenNames& frozen = {}, const AdapterSpec* adapter = nullptr,
      Quantization quantization = Quantization::kNone);

  // Reads every weight of the model, remembers its dtype and its name in files, then calls
  // PublishCompute. Opens the vision part. Quantizes each matrix as it reads it, from the bytes of
  // the file. Errors: as
  // HfFolder::CheckComplete; InvalidArgument names the file and the tensor with a NaN or infinity.
  absl::Status Load(const HfFolder& folder);
  // The model: matrices and embeddings from Normal(0, initializer_range), norms that multiply by 1,
  // biases 0. Depends on the seed, not on the number of threads. Then PublishCompute.
  absl::Status InitRandom(uint64_t seed);
  // The adapter, as PEFT: A uniform in ±1 / sqrt(in), B 0; of the embedding, A 0 and B
  // Normal(0, 1). Depends on the seed, not on the number of threads. Then PublishCompute.
  absl::Status InitAdapter(uint64_t seed);

  absl::Span<Parameter> parameters() { return absl::MakeSpan(parameters_); }
  absl::Span<const Parameter> parameters() const { return parameters_; }
  const Parameter* Find(std::string_view name) const;
  // Neighboring roles that form one matrix (or one bias).
  struct RoleRange {
    WeightRole first;
    WeightRole last;
  };
  // The matrices of a layer as the decoder multiplies with them; no bias where the model has none.
  // One matrix, unless some of its members train and others do not (LinearWeights::more).
  // With the adapter's terms.
  LinearWeights Linear(const RoleRange& weight, const RoleRange& bias, int64_t layer) const;
  // The same for an expert, whose matrices have neither bias nor adapter.
  LinearWeights Expert(const RoleRange& weight, int64_t layer, int64_t expert) const;
  // The adapter's terms of these matrices; no terms without an adapter. A tied head may have one.
  LowRankWeights LowRank(const RoleRange& weight, int64_t layer = -1) const;
  // nullptr: no adapter.
  const AdapterSpec* adapter() const { return adapter_ ? &*adapter_ : nullptr; }
  // What model files hold besides the parameters. Empty until Load.
  const KeptTensors& kept() const { return *kept_; }
  // Undefined tensors when the model has no such weight.
  WeightAndGrad Weight(WeightRole role, int64_t layer = -1) const;

  // 1-D, all parameters that train, with the padding between groups (always 0 in masters and
  // gradients). In the dtypes of Parameter::master and grad.
  const at::Tensor& flat_master() const { return flat_master_; }
  const at::Tensor& flat_grad() const { return flat_grad_; }
  // Compute dtype; the same tensor as flat_master, except in Precision::kBf16.
  const at::Tensor& flat_value() const { return flat_value_; }
  // Runs of elements [begin, end) of one group, in buffer order, covering the whole buffer.
  struct GroupRun {
    int64_t begin;
    int64_t end;
    ParameterGroup group;
  };
  const std::vector<GroupRun>& group_runs() const { return group_runs_; }

  void ZeroGrad();
  // Master → compute copy, where they differ. Call after each change of the masters.
  void PublishCompute();

  Precision precision() const { return precision_; }
  // Selects the random bits with which pure bf16 rounds the next update.
  uint64_t rounding_key() const { return rounding_key_; }
  void set_rounding_key(uint64_t key) { rounding_key_ = key; }
  at::Device device() const { return flat_master_.device(); }
  at::ScalarType compute_dtype() const {
    return precision_ == Precision::kFp32 ? at::kFloat : at::kBFloat16;
  }
  // Elements of all parameters (those of the adapter too), and of those that train. Without
  // padding.
  int64_t num_parameters() const { return num_parameters_; }
  int64_t num_training() const { return num_training_; }
  // Memory of what does not train, and what it would be without quantization.
  int64_t frozen_bytes() const;
  int64_t frozen_bytes_unquantized() const;

 private:
  ParameterSet() = default;
  void Allocate(int64_t training_size, int64_t frozen_size, at::Device device);
  void AddParameter(const WeightSpec& spec, int64_t offset, bool is_frozen);
  void AddQuantized(const WeightSpec& spec);
  void Add(Parameter parameter);
  absl::Status LoadParameter(const HfFolder& folder, Parameter& parameter) const;
  // A or B of the target.
  const Parameter& AdapterParameter(const AdapterTarget& target, WeightRole matrix) const;
  // Index of the weight in parameters_; -1 if the model has none.
  int64_t IndexOf(WeightRole role, int64_t layer, int64_t expert = -1) const;
  // `count` matrices from parameter `first` on, with the biases from `first_bias` on; -1: none.
  LinearWeights LinearOf(int64_t first, int64_t count, int64_t first_bias) const;
  // The neighbors `first` to `last`, which all train or are all frozen, as one matrix (or vector).
  at::Tensor Joined(const at::Tensor& flat, const Parameter& first, const Parameter& last) const;
  WeightAndGrad Joined(const Parameter& first, const Parameter& last) const;
  // Parameters [begin, end), a run of neighbors, as one matrix without its bias.
  LinearWeights JoinedMatrix(int64_t begin, int64_t end) const;

  Precision precision_ = Precision::kFp32;
  uint64_t rounding_key_ = 0;
  ModelConfig config_;
  std::optional<AdapterSpec> adapter_;
  int64_t num_parameters_ = 0, num_training_ = 0;
  at::Tensor flat_master_, flat_grad_, flat_value_;
  at::Tensor flat_frozen_;  // compute dtype
  std::vector<Parameter> parameters_;
  // Role, layer and expert, and name → index in parameters_.
  absl::flat_hash_map<std::tuple<WeightRole, int64_t, int64_t>, int64_t> by_role_;
  absl::flat_hash_map<std::string, int64_t> by_name_;
  std::vector<GroupRun> group_runs_;
  std::shared_ptr<const KeptTensors> kept_ = std::make_shared<const KeptTensors>();
};

}  // namespace trainerd::engine
