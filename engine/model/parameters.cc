// SPDX-License-Identifier: Apache-2.0
#include "engine/model/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/formats/finite.h"
#include "engine/model/random_fill.h"
#include "engine/model/stored_dtype.h"
#include "engine/platform/torch_status.h"
#include "proto/base/format.h"
#include "proto/base/split_mix.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Groups of neighbors start at a multiple of this many elements: 64 bytes in bf16, 128 in fp32.
constexpr int64_t kAlignment = 32;

int64_t Aligned(int64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

int64_t CountOf(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t dimension : shape) count *= dimension;
  return count;
}

// Whether `compute` represents every number of `source`.
bool IsExact(at::ScalarType compute, at::ScalarType source) {
  return compute == at::kFloat || compute == source;
}

// Of the master, the gradient and the compute copy.
int64_t TrainingBytesPerElement(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return 8;
    case Precision::kBf16:
      return 10;
    case Precision::kBf16Sr:
      return 4;
    case Precision::kBf16SrAccumulating:
      return 6;
  }
  return 0;
}

// The members of a group follow each other without padding, so that the group is one matrix.
bool ContinuesGroup(const WeightSpec& spec, const WeightSpec& previous) {
  if (IsOfAdapter(spec.role)) return spec.role == previous.role && spec.layer == previous.layer;
  return FirstOfJoint(spec.role) != spec.role;
}

}  // namespace

at::Tensor Parameter::stored() const {
  if (trains()) return master;
  if (!nf4.has_value()) return source.defined() ? source : value;
  const at::Tensor dense =
      at::empty({nf4->rows, nf4->columns}, nf4->codes.options().dtype(at::kFloat));
  DequantizeNf4(*nf4, dense);
  return dense;
}

absl::StatusOr<std::unique_ptr<ParameterSet>> ParameterSet::Create(
    const ModelConfig& config, Precision precision, at::Device device, const FrozenNames& frozen,
    const AdapterSpec* adapter, Quantization quantization) {
  TRAINERD_CHECK(quantization == Quantization::kNone || adapter != nullptr);
  auto set = std::unique_ptr<ParameterSet>(new ParameterSet());
  set->config_ = config;
  set->precision_ = precision;
  if (adapter != nullptr) set->adapter_ = *adapter;

  // Frozen parameters and those that train are laid out in the same way, each kind in its buffer.
  std::vector<WeightSpec> specs = WeightsOf(config);
  if (adapter != nullptr) {
    std::vector<WeightSpec> added = AdapterWeights(*adapter);
    specs.insert(specs.end(), std::make_move_iterator(added.begin()),
                 std::make_move_iterator(added.end()));
  }
  const auto is_frozen_spec = [&](const WeightSpec& spec) {
    return adapter != nullptr ? !IsOfAdapter(spec.role) : frozen.count(spec.name) > 0;
  };
  const auto is_quantized_spec = [&](const WeightSpec& spec) {
    return quantization == Quantization::kNf4 && is_frozen_spec(spec) &&
           GroupOf(spec.role) == ParameterGroup::kMatrix && !IsOfExperts(spec.role);
  };
  std::vector<int64_t> offsets;
  int64_t training_end = 0, frozen_end = 0, nf4_bytes = 0;
  bool previous_is_frozen = false;
  for (size_t i = 0; i < specs.size(); ++i) {
    const WeightSpec& spec = specs[i];
    set->num_parameters_ += CountOf(spec.shape);
    if (is_quantized_spec(spec)) {
      offsets.push_back(-1);
      nf4_bytes += Nf4Matrix::BytesFor(spec.shape[0], spec.shape[1]);
      continue;
    }
    const bool is_frozen = is_frozen_spec(spec);
    int64_t& end = is_frozen ? frozen_end : training_end;
    if (i == 0 || !ContinuesGroup(spec, specs[i - 1]) || is_frozen != previous_is_frozen)
      end = Aligned(end);
    previous_is_frozen = is_frozen;
    offsets.push_back(end);
    end += CountOf(spec.shape);
    if (!is_frozen) set->num_training_ += CountOf(spec.shape);
  }
  const int64_t bytes = Aligned(training_end) * TrainingBytesPerElement(precision) +
                        Aligned(frozen_end) * (precision == Precision::kFp32 ? 4 : 2) + nf4_bytes;
  RETURN_IF_ERROR(Annotate(CatchTorch([&] {
                             set->Allocate(Aligned(training_end), Aligned(frozen_end), device);
                             for (size_t i = 0; i < specs.size(); ++i) {
                               if (offsets[i] < 0) {
                                 set->AddQuantized(specs[i]);
                               } else {
                                 set->AddParameter(specs[i], offsets[i], is_frozen_spec(specs[i]));
                               }
                             }
                           }),
                           "parameters and gradients of ", FormatCount(set->num_parameters_),
                           " weights need ", FormatBytes(bytes)));
  return set;
}

void ParameterSet::Allocate(int64_t training_size, int64_t frozen_size, at::Device device) {
  const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
  const auto bf16 = options.dtype(at::kBFloat16);
  flat_master_ = at::zeros({training_size}, IsPureBf16(precision_) ? bf16 : options);
  flat_grad_ = at::zeros({training_size}, precision_ == Precision::kBf16Sr ? bf16 : options);
  flat_value_ = precision_ == Precision::kBf16 ? at::zeros({training_size}, bf16) : flat_master_;
  flat_frozen_ = at::zeros({frozen_size}, options.dtype(compute_dtype()));
}

void ParameterSet::AddQuantized(const WeightSpec& spec) {
  Parameter parameter;
  parameter.name = parameter.name_in_files = spec.name;
  parameter.role = spec.role;
  parameter.layer = spec.layer;
  parameter.expert = spec.expert;
  parameter.value = at::empty(spec.shape, at::TensorOptions(at::kMeta).dtype(compute_dtype()));
  parameter.nf4 = Nf4Matrix::Zeros(spec.shape[0], spec.shape[1], device());
  Add(std::move(parameter));
}

void ParameterSet::AddParameter(const WeightSpec& spec, int64_t offset, bool is_frozen) {
  const auto view = [&](const at::Tensor& flat) {
    return flat.narrow(0, offset, CountOf(spec.shape)).view(spec.shape);
  };
  Parameter parameter;
  parameter.name = parameter.name_in_files = spec.name;
  parameter.role = spec.role;
  parameter.layer = spec.layer;
  parameter.expert = spec.expert;
  parameter.offset = offset;
  parameter.value = view(is_frozen ? flat_frozen_ : flat_value_);
  if (!is_frozen) {
    parameter.master = view(flat_master_);
    parameter.grad = view(flat_grad_);
    // Padding before a parameter joins the run of what precedes it. It is 0 and stays 0 under any
    // update.
    if (group_runs_.empty() || group_runs_.back().group != parameter.group()) {
      if (!group_runs_.empty()) group_runs_.back().end = offset;
      group_runs_.push_back({offset, flat_master_.numel(), parameter.group()});
    }
  }
  Add(std::move(parameter));
}

absl::Status ParameterSet::Load(const HfFolder& folder) {
  RETURN_IF_ERROR(folder.CheckComplete(config_));
  for (Parameter& parameter : parameters_) {
    if (!parameter.is_of_adapter()) RETURN_IF_ERROR(LoadParameter(folder, parameter));
  }
  ASSIGN_OR_RETURN(kept_, KeptTensors::Open(folder));
  return CatchTorch([&] { PublishCompute(); });
}

absl::Status ParameterSet::LoadParameter(const HfFolder& folder, Parameter& parameter) const {
  const std::vector<int64_t> shape = parameter.value.sizes().vec();
  ASSIGN_OR_RETURN(const std::string_view bytes, folder.Bytes(parameter.name, shape));
  const StoredDtype dtype = folder.Find(parameter.name)->dtype;
  if (const std::optional<int64_t> at = FirstNonFinite(bytes, dtype); at.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        folder.FileOf(parameter.name), ": tensor \"", parameter.name,
        "\" holds NaN or infinity (first at element ", *at,
        ", counted from 0), so the start weights are damaged; download the file again, or start "
        "from another model or checkpoint"));
  }
  parameter.source_dtype = ScalarTypeOf(dtype);
  parameter.name_in_files = folder.NameInFiles(parameter.name);
  // copy_ and clone only read the mapping; from_blob requires a mutable pointer. Files do not align
  // tensors to their element size.
  RETURN_IF_ERROR(Annotate(
      CatchTorch([&] {
        const at::Tensor stored = at::from_blob(const_cast<char*>(bytes.data()), shape,
                                                at::TensorOptions().dtype(parameter.source_dtype));
        if (parameter.nf4.has_value()) return QuantizeNf4(stored, *parameter.nf4);
        (parameter.trains() ? parameter.master : parameter.value).copy_(stored);
        parameter.source = parameter.trains() || IsExact(compute_dtype(), parameter.source_dtype)
                               ? at::Tensor()
                               : stored.clone();
      }),
      "load tensor \"", parameter.name, "\""));
  folder.Release(parameter.name);
  return absl::OkStatus();
}

absl::Status ParameterSet::InitRandom(uint64_t seed) {
  return CatchTorch([&] {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const Parameter& parameter = parameters_[i];
      if (parameter.is_of_adapter()) continue;
      const ParameterGroup group = parameter.group();
      at::Tensor target = parameter.trains() ? parameter.master : parameter.value;
      if (parameter.nf4.has_value()) target = at::empty(target.sizes(), at::kFloat);
      if (group == ParameterGroup::kNorm || group == ParameterGroup::kBias) {
        target.fill_(group == ParameterGroup::kNorm ? 1.0 - config_.block.norm_offset : 0.0);
      } else {
        FillNormal(target, SplitMix64(seed) ^ static_cast<uint64_t>(i), config_.initializer_range);
      }
      if (parameter.nf4.has_value()) QuantizeNf4(target, *parameter.nf4);
    }
    PublishCompute();
  });
}

absl::Status ParameterSet::InitAdapter(uint64_t seed) {
  TRAINERD_CHECK(adapter_.has_value());
  return CatchTorch([&] {
    for (size_t i = 0; i < adapter_->targets.size(); ++i) {
      const AdapterTarget& target = adapter_->targets[i];
      const at::Tensor& a = AdapterParameter(target, WeightRole::kAdapterA).master;
      const at::Tensor& b = AdapterParameter(target, WeightRole::kAdapterB).master;
      const uint64_t key = SplitMix64(~seed) ^ static_cast<uint64_t>(i);
      if (target.role == WeightRole::kEmbedding) {
        a.zero_();
        FillNormal(b, key, /*deviation=*/1.0);
      } else {
        FillUniform(a, key, 1.0 / std::sqrt(static_cast<double>(target.in)));
        b.zero_();
      }
    }
    PublishCompute();
  });
}

const Parameter& ParameterSet::AdapterParameter(const AdapterTarget& target,
                                                WeightRole matrix) const {
  const Parameter* parameter = Find(AdapterWeightName(target, matrix));
  TRAINERD_CHECK(parameter != nullptr);
  return *parameter;
}

const Parameter* ParameterSet::Find(std::string_view name) const {
  const auto found = by_name_.find(absl::string_view(name.data(), name.size()));
  return found == by_name_.end() ? nullptr : &parameters_[static_cast<size_t>(found->second)];
}

int64_t ParameterSet::IndexOf(WeightRole role, int64_t layer, int64_t expert) const {
  const auto found = by_role_.find({role, layer, expert});
  return found == by_role_.end() ? -1 : found->second;
}

void ParameterSet::Add(Parameter parameter) {
  const auto index = static_cast<int64_t>(parameters_.size());
  by_name_.emplace(parameter.name, index);
  by_role_.emplace(std::tuple(parameter.role, parameter.layer, parameter.expert), index);
  parameters_.push_back(std::move(parameter));
}

at::Tensor ParameterSet::Joined(const at::Tensor& flat, const Parameter& first,
                                const Parameter& last) const {
  const int64_t count = last.offset + last.value.numel() - first.offset;
  if (first.value.dim() == 1) return flat.narrow(0, first.offset, count);
  const int64_t columns = first.value.size(1);
  return flat.narrow(0, first.offset, count).view({count / columns, columns});
}

WeightAndGrad ParameterSet::Joined(const Parameter& first, const Parameter& last) const {
  if (!first.trains()) return {Joined(flat_frozen_, first, last), at::Tensor()};
  return {Joined(flat_value_, first, last), Joined(flat_grad_, first, last)};
}

LinearWeights ParameterSet::JoinedMatrix(int64_t begin, int64_t end) const {
  const auto member = [&](int64_t i) -> const Parameter& {
    return parameters_[static_cast<size_t>(i)];
  };
  LinearWeights result;
  if (!member(begin).nf4.has_value()) {
    const WeightAndGrad matrix = Joined(member(begin), member(end - 1));
    result.weight = matrix.weight;
    result.weight_grad = matrix.grad;
    return result;
  }
  int64_t rows = 0;
  for (int64_t i = begin; i < end; ++i) {
    result.nf4.push_back(*member(i).nf4);
    rows += result.nf4.back().rows;
  }
  result.weight = at::empty({rows, result.nf4[0].columns}, member(begin).value.options());
  return result;
}

LinearWeights ParameterSet::Linear(const RoleRange& weight, const RoleRange& bias,
                                   int64_t layer) const {
  const int64_t first = IndexOf(weight.first, layer), last = IndexOf(weight.last, layer),
                first_bias = IndexOf(bias.first, layer);
  TRAINERD_CHECK(first >= 0 && last >= first);
  TRAINERD_CHECK(first_bias < 0 || IndexOf(bias.last, layer) - first_bias == last - first);
  LinearWeights result = LinearOf(first, last - first + 1, first_bias);
  result.low_rank = LowRank(weight, layer);
  return result;
}

LinearWeights ParameterSet::Expert(const RoleRange& weight, int64_t layer, int64_t expert) const {
  const int64_t first = IndexOf(weight.first, layer, expert),
                last = IndexOf(weight.last, layer, expert);
  TRAINERD_CHECK(first >= 0 && last >= first);
  return LinearOf(first, last - first + 1, /*first_bias=*/-1);
}

LinearWeights ParameterSet::LinearOf(int64_t first, int64_t count, int64_t first_bias) const {
  const auto matrix_at = [&](int64_t i) -> const Parameter& { return parameters_[first + i]; };
  const auto bias_at = [&](int64_t i) -> const Parameter& { return parameters_[first_bias + i]; };
  const auto agree = [&](int64_t a, int64_t b) {
    return matrix_at(a).trains() == matrix_at(b).trains() &&
           (first_bias < 0 || bias_at(a).trains() == bias_at(b).trains());
  };
  std::vector<LinearWeights> parts;
  for (int64_t begin = 0, end = 1; begin < count; begin = end++) {
    while (end < count && agree(begin, end)) ++end;
    LinearWeights part = JoinedMatrix(first + begin, first + end);
    if (first_bias >= 0) {
      const WeightAndGrad vector = Joined(bias_at(begin), bias_at(end - 1));
      part.bias = vector.weight;
      part.bias_grad = vector.grad;
    }
    parts.push_back(std::move(part));
  }
  LinearWeights result = std::move(parts.front());
  result.more.assign(parts.begin() + 1, parts.end());
  return result;
}

LowRankWeights ParameterSet::LowRank(const RoleRange& weight, int64_t layer) const {
  LowRankWeights result;
  if (!adapter_.has_value()) return result;
  result.scale = adapter_->scale();
  result.dropout = adapter_->dropout;
  const Parameter *first_a = nullptr, *last_a = nullptr;
  for (size_t i = 0; i < adapter_->targets.size(); ++i) {
    const AdapterTarget& target = adapter_->targets[i];
    if (target.layer != layer || target.role < weight.first || target.role > weight.last) continue;
    const Parameter& a = AdapterParameter(target, WeightRole::kAdapterA);
    const Parameter& b = AdapterParameter(target, WeightRole::kAdapterB);
    int64_t begin = 0;
    if (target.role != weight.first) {
      for (int64_t j = IndexOf(weight.first, layer); j < IndexOf(target.role, layer); ++j)
        begin += parameters_[j].value.size(0);
    }
    result.terms.push_back({.a = {a.value, a.grad},
                            .b = {b.value, b.grad},
                            .begin = begin,
                            .stream = static_cast<uint64_t>(i)});
    if (first_a == nullptr) first_a = &a;
    last_a = &a;
  }
  if (first_a != nullptr) result.a = Joined(*first_a, *last_a);
  return result;
}

WeightAndGrad ParameterSet::Weight(WeightRole role, int64_t layer) const {
  const int64_t index = IndexOf(role, layer);
  if (index < 0) return {};
  return {parameters_[index].value, parameters_[index].grad};
}

int64_t ParameterSet::frozen_bytes() const {
  int64_t bytes = static_cast<int64_t>(flat_frozen_.nbytes());
  for (const Parameter& parameter : parameters_) {
    bytes += static_cast<int64_t>(parameter.source.defined() ? parameter.source.nbytes() : 0);
    if (parameter.nf4) bytes += Nf4Matrix::BytesFor(parameter.nf4->rows, parameter.nf4->columns);
  }
  return bytes;
}

int64_t ParameterSet::frozen_bytes_unquantized() const {
  int64_t bytes = frozen_bytes();
  for (const Parameter& parameter : parameters_) {
    if (!parameter.nf4.has_value()) continue;
    const Nf4Matrix& matrix = *parameter.nf4;
    size_t element_bytes = c10::elementSize(compute_dtype());
    if (!IsExact(compute_dtype(), parameter.source_dtype))
      element_bytes += c10::elementSize(parameter.source_dtype);
    bytes += matrix.elements() * static_cast<int64_t>(element_bytes) -
             Nf4Matrix::BytesFor(matrix.rows, matrix.columns);
  }
  return bytes;
}

void ParameterSet::ZeroGrad() { flat_grad_.zero_(); }

void ParameterSet::PublishCompute() {
  if (precision_ != Precision::kFp32) flat_value_.copy_(flat_master_);
}

}  // namespace trainerd::engine
