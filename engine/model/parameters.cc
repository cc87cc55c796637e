// SPDX-License-Identifier: Apache-2.0
#include "engine/model/parameters.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/model/stored_dtype.h"
#include "engine/platform/torch_status.h"
#include "proto/base/split_mix.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Groups of neighbours start at a multiple of this many elements: 64 bytes in bf16, 128 in fp32.
constexpr int64_t kAlignment = 32;

int64_t CountOf(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t dimension : shape) count *= dimension;
  return count;
}

// Members of a group lie behind each other without padding, so that the group is one matrix.
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
    case WeightRole::kInputNorm:
    case WeightRole::kQuery:
    case WeightRole::kQueryBias:
    case WeightRole::kQueryNorm:
    case WeightRole::kKeyNorm:
    case WeightRole::kOutput:
    case WeightRole::kOutputBias:
    case WeightRole::kPostAttentionNorm:
    case WeightRole::kGate:
    case WeightRole::kGateBias:
    case WeightRole::kDown:
    case WeightRole::kDownBias:
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

absl::StatusOr<std::unique_ptr<ParameterSet>> ParameterSet::Create(const ModelConfig& config,
                                                                   Precision precision,
                                                                   at::Device device) {
  auto set = std::unique_ptr<ParameterSet>(new ParameterSet());
  set->config_ = config;
  set->precision_ = precision;

  const std::vector<WeightSpec> specs = WeightsOf(config);
  std::vector<int64_t> offsets;
  int64_t end = 0;
  for (const WeightSpec& spec : specs) {
    if (!ContinuesGroup(spec.role)) end = (end + kAlignment - 1) / kAlignment * kAlignment;
    offsets.push_back(end);
    end += CountOf(spec.shape);
    set->num_parameters_ += CountOf(spec.shape);
  }
  end = (end + kAlignment - 1) / kAlignment * kAlignment;

  const int64_t bytes = end * (precision == Precision::kFp32 ? 8 : 10);
  RETURN_IF_ERROR(Annotate(
      CatchTorch([&] {
        const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
        set->flat_master_ = at::zeros({end}, options);
        set->flat_grad_ = at::zeros({end}, options);
        set->flat_value_ = precision == Precision::kFp32
                               ? set->flat_master_
                               : at::zeros({end}, options.dtype(at::kBFloat16));
      }),
      "parameters and gradients of ", set->num_parameters_, " weights need ", bytes, " bytes"));

  for (size_t i = 0; i < specs.size(); ++i) {
    const WeightSpec& spec = specs[i];
    const int64_t count = CountOf(spec.shape);
    const auto view = [&](const at::Tensor& flat) {
      return flat.narrow(0, offsets[i], count).view(spec.shape);
    };
    Parameter parameter;
    parameter.name = spec.name;
    parameter.role = spec.role;
    parameter.layer = spec.layer;
    parameter.offset = offsets[i];
    parameter.value = view(set->flat_value_);
    parameter.master = view(set->flat_master_);
    parameter.grad = view(set->flat_grad_);
    parameter.decay = spec.decay;
    // Padding before a parameter joins the run of what precedes it; it is 0 and stays 0 under any
    // update.
    if (set->decay_runs_.empty() || set->decay_runs_.back().decay != spec.decay) {
      if (!set->decay_runs_.empty()) set->decay_runs_.back().end = offsets[i];
      set->decay_runs_.push_back({offsets[i], end, spec.decay});
    }
    set->parameters_.push_back(std::move(parameter));
  }
  return set;
}

absl::Status ParameterSet::Load(const HfFolder& folder) {
  RETURN_IF_ERROR(folder.CheckComplete(config_));
  for (Parameter& parameter : parameters_) {
    const std::vector<int64_t> shape(parameter.master.sizes().begin(),
                                     parameter.master.sizes().end());
    ASSIGN_OR_RETURN(const std::string_view bytes, folder.Bytes(parameter.name, shape));
    parameter.source_dtype = ScalarTypeOf(folder.Find(parameter.name)->dtype);
    // copy_ reads the mapping only; from_blob wants a pointer that could be written. Files do not
    // align tensors to their element size.
    RETURN_IF_ERROR(Annotate(CatchTorch([&] {
                               const at::Tensor stored =
                                   at::from_blob(const_cast<char*>(bytes.data()), shape,
                                                 at::TensorOptions().dtype(parameter.source_dtype));
                               parameter.master.copy_(stored);
                             }),
                             "load tensor \"", parameter.name, "\""));
    folder.Release(parameter.name);
  }
  return CatchTorch([&] { PublishCompute(); });
}

absl::Status ParameterSet::InitRandom(uint64_t seed) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& parameter = parameters_[i];
    const bool is_norm = parameter.role == WeightRole::kInputNorm ||
                         parameter.role == WeightRole::kPostAttentionNorm ||
                         parameter.role == WeightRole::kFinalNorm ||
                         parameter.role == WeightRole::kQueryNorm ||
                         parameter.role == WeightRole::kKeyNorm;
    RETURN_IF_ERROR(CatchTorch([&] {
      if (!parameter.decay) {
        parameter.master.fill_(is_norm ? 1.0 : 0.0);
        return;
      }
      std::vector<float> values(static_cast<size_t>(parameter.master.numel()));
      const uint64_t key = SplitMix64(seed) ^ static_cast<uint64_t>(i);
      const int64_t count = static_cast<int64_t>(values.size());
      at::parallel_for(0, (count + 1) / 2, /*grain_size=*/4096, [&](int64_t begin, int64_t end) {
        for (int64_t pair = begin; pair < end; ++pair) {
          NormalPair(key, pair, config_.initializer_range, &values[2 * pair],
                     2 * pair + 1 < count ? &values[2 * pair + 1] : nullptr);
        }
      });
      parameter.master.copy_(at::from_blob(values.data(), parameter.master.sizes(),
                                           at::TensorOptions().dtype(at::kFloat)));
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

const Parameter* ParameterSet::FindRole(WeightRole role, int64_t layer) const {
  for (const Parameter& parameter : parameters_) {
    if (parameter.role == role && parameter.layer == layer) return &parameter;
  }
  return nullptr;
}

at::Tensor ParameterSet::Joined(const at::Tensor& flat, const Parameter& first,
                                const Parameter& last) const {
  const int64_t count = last.offset + last.master.numel() - first.offset;
  if (first.master.dim() == 1) return flat.narrow(0, first.offset, count);
  const int64_t columns = first.master.size(1);
  return flat.narrow(0, first.offset, count).view({count / columns, columns});
}

LinearWeights ParameterSet::Linear(const Group& weight, const Group& bias, int64_t layer) const {
  const Parameter *first = FindRole(weight.first, layer), *last = FindRole(weight.last, layer);
  TRAINERD_CHECK(first != nullptr && last != nullptr);
  LinearWeights result;
  result.weight = Joined(flat_value_, *first, *last);
  result.weight_grad = Joined(flat_grad_, *first, *last);
  const Parameter *first_bias = FindRole(bias.first, layer),
                  *last_bias = FindRole(bias.last, layer);
  if (first_bias != nullptr) {
    TRAINERD_CHECK(last_bias != nullptr);
    result.bias = Joined(flat_value_, *first_bias, *last_bias);
    result.bias_grad = Joined(flat_grad_, *first_bias, *last_bias);
  }
  return result;
}

WeightAndGrad ParameterSet::Weight(WeightRole role, int64_t layer) const {
  const Parameter* parameter = FindRole(role, layer);
  if (parameter == nullptr) return {};
  return {parameter->value, parameter->grad};
}

void ParameterSet::ZeroGrad() { flat_grad_.zero_(); }

void ParameterSet::PublishCompute() {
  if (precision_ != Precision::kFp32) flat_value_.copy_(flat_master_);
}

}  // namespace trainerd::engine
