// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/optimizer_state.h"

#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "engine/model/folder/checkpoint_size.h"
#include "engine/model/folder/weight_spec.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

constexpr char kAdvice[] = "start from its weights alone with init_from.state: weights";

// The parameters of which `file` holds optimizer state.
std::set<std::string> WithState(const SafetensorsFile& file) {
  std::set<std::string> names;
  for (const TensorInfo& info : file.tensors()) {
    const size_t dot = info.name.rfind('.');
    if (dot != std::string::npos && info.name.substr(dot + 1) != kMasterName)
      names.insert(info.name.substr(0, dot));
  }
  return names;
}

absl::Status FrozenBefore(const SafetensorsFile& file, const std::vector<std::string>& names) {
  const auto count = static_cast<int64_t>(names.size());
  return absl::FailedPreconditionError(
      absl::StrCat(file.path(), " has no optimizer state for ", Counted(count, "parameter"),
                   " that ", count == 1 ? "trains" : "train", " in this job: ", ShortList(names),
                   "; the checkpoint's job froze ", count == 1 ? "it" : "them", ", so list ",
                   count == 1 ? "it" : "them", " in train.freeze, or ", kAdvice));
}

absl::Status OtherOptimizer(const SafetensorsFile& file, const std::string& state) {
  return absl::FailedPreconditionError(absl::StrCat(
      file.path(), " has no ", state,
      ": the checkpoint is from a job with another optimizer or other frozen parameters; ",
      kAdvice));
}

std::vector<StoredState> AdamWStates(const std::vector<int64_t>& shape) {
  return {{"exp_avg", StoredDtype::kFloat32, shape}, {"exp_avg_sq", StoredDtype::kFloat32, shape}};
}

std::vector<StoredState> AdamW8bitStates(const std::vector<int64_t>& shape) {
  const int64_t size = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  if (size < kLeastQuantizedSize) return AdamWStates(shape);
  const std::vector<int64_t> blocks = {(size + kQuantizedBlock - 1) / kQuantizedBlock};
  return {{"exp_avg_8bit", StoredDtype::kUInt8, shape},
          {"exp_avg_absmax", StoredDtype::kFloat32, blocks},
          {"exp_avg_sq_8bit", StoredDtype::kUInt8, shape},
          {"exp_avg_sq_absmax", StoredDtype::kFloat32, blocks}};
}

std::vector<StoredState> MomentumState(double momentum, const std::vector<int64_t>& shape) {
  if (momentum == 0) return {};
  return {{"momentum_buffer", StoredDtype::kFloat32, shape}};
}

}  // namespace

std::vector<StoredState> StatesOf(const v1::OptimizerConfig& optimizer, ParameterGroup group,
                                  const std::vector<int64_t>& shape) {
  switch (optimizer.type()) {
    case v1::OptimizerConfig::TYPE_ADAMW:
      return AdamWStates(shape);
    case v1::OptimizerConfig::TYPE_SGD:
      return MomentumState(optimizer.momentum(), shape);
    case v1::OptimizerConfig::TYPE_MUON:
      return group == ParameterGroup::kMatrix ? MomentumState(optimizer.momentum(), shape)
                                              : AdamWStates(shape);
    case v1::OptimizerConfig::TYPE_ADAMW_8BIT:
      return AdamW8bitStates(shape);
    case v1::OptimizerConfig::TYPE_UNSPECIFIED:
    case kMinSentinel<v1::OptimizerConfig::Type>:
    case kMaxSentinel<v1::OptimizerConfig::Type>:
      break;
  }
  return {};
}

absl::Status CheckOptimizerState(const v1::OptimizerConfig& optimizer,
                                 const std::vector<StoredParameter>& parameters,
                                 const std::string& folder) {
  const absl::StatusOr<std::unique_ptr<SafetensorsFile>> file =
      SafetensorsFile::Open(absl::StrCat(folder, "/", kOptimizerName));
  if (absl::IsNotFound(file.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat(folder, " has no optimizer state; ", kAdvice));
  }
  RETURN_IF_ERROR(file.status());
  const std::set<std::string> with_state = WithState(**file);
  std::vector<std::string> frozen_before;
  for (const StoredParameter& parameter : parameters) {
    if (!parameter.trains) continue;
    std::vector<StoredState> needed = StatesOf(optimizer, parameter.group, parameter.shape);
    if (NeedsMaster(parameter.dtype)) needed.push_back({.name = kMasterName});
    for (const StoredState& state : needed) {
      if ((*file)->Find(absl::StrCat(parameter.name, ".", state.name)) != nullptr) continue;
      // The checkpoint's job trained this parameter, or its optimizer kept no state for any.
      const bool is_other =
          state.name != kMasterName && (with_state.count(parameter.name) > 0 || with_state.empty());
      if (is_other) return OtherOptimizer(**file, state.name);
      frozen_before.push_back(parameter.name);
      break;
    }
  }
  return frozen_before.empty() ? absl::OkStatus() : FrozenBefore(**file, frozen_before);
}

}  // namespace trainerd::engine
