// SPDX-License-Identifier: Apache-2.0
#include "engine/model/parameters.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/formats/finite.h"
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

// The members of a group follow each other without padding, so that the group is one matrix.
bool ContinuesGroup(WeightRole role) {
  switch (role) {
    case WeightRole::kKey:
    case WeightRole::kValue:
    case WeightRole::kKeyBias:
    case WeightRole::kValueBias:
    case WeightRole::kUp:
    case WeightRole::kUpBias:
      return true;
    case WeightRole::kEmbedding:
    case WeightRole::kAttentionNorm:
    case WeightRole::kQuery:
    case WeightRole::kQueryBias:
    case WeightRole::kQueryNorm:
    case WeightRole::kKeyNorm:
    case WeightRole::kOutput:
    case WeightRole::kOutputBias:
    case WeightRole::kAttentionOutputNorm:
    case WeightRole::kMlpNorm:
    case WeightRole::kGate:
    case WeightRole::kGateBias:
    case WeightRole::kDown:
    case WeightRole::kDownBias:
    case WeightRole::kMlpOutputNorm:
    case WeightRole::kFinalNorm:
    case WeightRole::kHead:
      return false;
  }
  return false;
}

// Uniform in (0, 1).
double Uniform(uint64_t bits) { return (static_cast<double>(bits >> 11) + 0.5) * 0x1.0p-53; }

// Numbers 2 × pair and 2 × pair + 1 of the normal distribution of `key`, by Box–Muller on two
// counters.
void NormalPair(uint64_t key, int64_t pair, double deviation, float* first, float* second) {
  const uint64_t counter = SplitMix64(key) + 2 * static_cast<uint64_t>(pair);
  const double radius = deviation * std::sqrt(-2.0 * std::log(Uniform(SplitMix64(counter)))),
               angle = 2.0 * M_PI * Uniform(SplitMix64(counter + 1));
  *first = static_cast<float>(radius * std::cos(angle));
  if (second != nullptr) *second = static_cast<float>(radius * std::sin(angle));
}

}  // namespace

ParameterGroup GroupOf(WeightRole role) {
  switch (role) {
    case WeightRole::kEmbedding:
      return ParameterGroup::kEmbedding;
    case WeightRole::kHead:
      return ParameterGroup::kHead;
    case WeightRole::kAttentionNorm:
    case WeightRole::kQueryNorm:
    case WeightRole::kKeyNorm:
    case WeightRole::kAttentionOutputNorm:
    case WeightRole::kMlpNorm:
    case WeightRole::kMlpOutputNorm:
    case WeightRole::kFinalNorm:
      return ParameterGroup::kNorm;
    case WeightRole::kQueryBias:
    case WeightRole::kKeyBias:
    case WeightRole::kValueBias:
    case WeightRole::kOutputBias:
    case WeightRole::kGateBias:
    case WeightRole::kUpBias:
    case WeightRole::kDownBias:
      return ParameterGroup::kBias;
    case WeightRole::kQuery:
    case WeightRole::kKey:
    case WeightRole::kValue:
    case WeightRole::kOutput:
    case WeightRole::kGate:
    case WeightRole::kUp:
    case WeightRole::kDown:
      break;
  }
  return ParameterGroup::kMatrix;
}

absl::StatusOr<std::unique_ptr<ParameterSet>> ParameterSet::Create(const ModelConfig& config,
                                                                   Precision precision,
                                                                   at::Device device,
                                                                   const FrozenNames& frozen) {
  auto set = std::unique_ptr<ParameterSet>(new ParameterSet());
  set->config_ = config;
  set->precision_ = precision;

  // Frozen parameters and those that train are laid out in the same way, each kind in its buffer.
  const std::vector<WeightSpec> specs = WeightsOf(config);
  std::vector<int64_t> offsets;
  int64_t training_end = 0, frozen_end = 0;
  bool previous_is_frozen = false;
  for (const WeightSpec& spec : specs) {
    const bool is_frozen = frozen.count(spec.name) > 0;
    int64_t& end = is_frozen ? frozen_end : training_end;
    if (!ContinuesGroup(spec.role) || is_frozen != previous_is_frozen) end = Aligned(end);
    previous_is_frozen = is_frozen;
    offsets.push_back(end);
    end += CountOf(spec.shape);
    set->num_parameters_ += CountOf(spec.shape);
    if (!is_frozen) set->num_training_ += CountOf(spec.shape);
  }
  RETURN_IF_ERROR(set->Allocate(Aligned(training_end), Aligned(frozen_end), device));
  for (size_t i = 0; i < specs.size(); ++i)
    set->AddParameter(specs[i], offsets[i], frozen.count(specs[i].name) > 0);
  return set;
}

absl::Status ParameterSet::Allocate(int64_t training_size, int64_t frozen_size, at::Device device) {
  const bool is_fp32 = precision_ == Precision::kFp32;
  const int64_t bytes = training_size * (is_fp32 ? 8 : 10) + frozen_size * (is_fp32 ? 4 : 2);
  return Annotate(CatchTorch([&] {
                    const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
                    flat_master_ = at::zeros({training_size}, options);
                    flat_grad_ = at::zeros({training_size}, options);
                    flat_value_ = is_fp32
                                      ? flat_master_
                                      : at::zeros({training_size}, options.dtype(at::kBFloat16));
                    flat_frozen_ = at::zeros({frozen_size}, options.dtype(compute_dtype()));
                  }),
                  "parameters and gradients of ", FormatCount(num_parameters_), " weights need ",
                  FormatBytes(bytes));
}

void ParameterSet::AddParameter(const WeightSpec& spec, int64_t offset, bool is_frozen) {
  const auto view = [&](const at::Tensor& flat) {
    return flat.narrow(0, offset, CountOf(spec.shape)).view(spec.shape);
  };
  Parameter parameter;
  parameter.name = spec.name;
  parameter.role = spec.role;
  parameter.layer = spec.layer;
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
  parameters_.push_back(std::move(parameter));
}

absl::Status ParameterSet::Load(const HfFolder& folder) {
  RETURN_IF_ERROR(folder.CheckComplete(config_));
  for (Parameter& parameter : parameters_) RETURN_IF_ERROR(LoadParameter(folder, parameter));
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
  // copy_ and clone only read the mapping; from_blob requires a mutable pointer. Files do not align
  // tensors to their element size.
  RETURN_IF_ERROR(Annotate(
      CatchTorch([&] {
        const at::Tensor stored = at::from_blob(const_cast<char*>(bytes.data()), shape,
                                                at::TensorOptions().dtype(parameter.source_dtype));
        (parameter.trains() ? parameter.master : parameter.value).copy_(stored);
        const bool is_exact =
            compute_dtype() == at::kFloat || parameter.source_dtype == compute_dtype();
        parameter.source = parameter.trains() || is_exact ? at::Tensor() : stored.clone();
      }),
      "load tensor \"", parameter.name, "\""));
  folder.Release(parameter.name);
  return absl::OkStatus();
}

absl::Status ParameterSet::InitRandom(uint64_t seed) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& parameter = parameters_[i];
    at::Tensor& target = parameter.trains() ? parameter.master : parameter.value;
    RETURN_IF_ERROR(CatchTorch([&] {
      const ParameterGroup group = parameter.group();
      if (group == ParameterGroup::kNorm || group == ParameterGroup::kBias) {
        target.fill_(group == ParameterGroup::kNorm ? 1.0 - config_.block.norm_offset : 0.0);
        return;
      }
      std::vector<float> values(static_cast<size_t>(target.numel()));
      const uint64_t key = SplitMix64(seed) ^ static_cast<uint64_t>(i);
      const int64_t count = static_cast<int64_t>(values.size());
      at::parallel_for(0, (count + 1) / 2, /*grain_size=*/4096, [&](int64_t begin, int64_t end) {
        for (int64_t pair = begin; pair < end; ++pair) {
          NormalPair(key, pair, config_.initializer_range, &values[2 * pair],
                     2 * pair + 1 < count ? &values[2 * pair + 1] : nullptr);
        }
      });
      target.copy_(
          at::from_blob(values.data(), target.sizes(), at::TensorOptions().dtype(at::kFloat)));
    }));
  }
  return CatchTorch([&] { PublishCompute(); });
}

const Parameter* ParameterSet::Find(std::string_view name) const {
  for (const Parameter& parameter : parameters_) {
    if (parameter.name == name) return &parameter;
  }
  return nullptr;
}

int64_t ParameterSet::IndexOf(WeightRole role, int64_t layer) const {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].role == role && parameters_[i].layer == layer)
      return static_cast<int64_t>(i);
  }
  return -1;
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

LinearWeights ParameterSet::Linear(const RoleRange& weight, const RoleRange& bias,
                                   int64_t layer) const {
  const int64_t first = IndexOf(weight.first, layer), last = IndexOf(weight.last, layer),
                first_bias = IndexOf(bias.first, layer);
  TRAINERD_CHECK(first >= 0 && last >= first);
  TRAINERD_CHECK(first_bias < 0 || IndexOf(bias.last, layer) - first_bias == last - first);
  const auto matrix_at = [&](int64_t i) -> const Parameter& { return parameters_[first + i]; };
  const auto bias_at = [&](int64_t i) -> const Parameter& { return parameters_[first_bias + i]; };
  const auto agree = [&](int64_t a, int64_t b) {
    return matrix_at(a).trains() == matrix_at(b).trains() &&
           (first_bias < 0 || bias_at(a).trains() == bias_at(b).trains());
  };
  std::vector<LinearWeights> parts;
  const int64_t count = last - first + 1;
  for (int64_t begin = 0, end = 1; begin < count; begin = end++) {
    while (end < count && agree(begin, end)) ++end;
    const WeightAndGrad matrix = Joined(matrix_at(begin), matrix_at(end - 1));
    LinearWeights part{.weight = matrix.weight, .weight_grad = matrix.grad};
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

WeightAndGrad ParameterSet::Weight(WeightRole role, int64_t layer) const {
  const int64_t index = IndexOf(role, layer);
  if (index < 0) return {};
  return {parameters_[index].value, parameters_[index].grad};
}

void ParameterSet::ZeroGrad() { flat_grad_.zero_(); }

void ParameterSet::PublishCompute() {
  if (precision_ != Precision::kFp32) flat_value_.copy_(flat_master_);
}

}  // namespace trainerd::engine
