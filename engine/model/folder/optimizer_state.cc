// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/optimizer_state.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "engine/model/folder/checkpoint_size.h"
#include "engine/model/folder/weight_spec.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

constexpr char kAdvice[] = "start from its weights alone with init_from.state: weights";

// The names of `names` of which `file` does not hold `state`.
std::vector<std::string> Missing(const SafetensorsFile& file, const std::vector<std::string>& names,
                                 const std::string& state) {
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    if (file.Find(absl::StrCat(name, ".", state)) == nullptr) missing.push_back(name);
  }
  return missing;
}

absl::Status FrozenBefore(const SafetensorsFile& file, const std::vector<std::string>& names) {
  const auto count = static_cast<int64_t>(names.size());
  return absl::FailedPreconditionError(
      absl::StrCat(file.path(), " has no optimizer state for ", Counted(count, "parameter"),
                   " that ", count == 1 ? "trains" : "train", " in this job: ", ShortList(names),
                   "; the checkpoint's job froze ", count == 1 ? "it" : "them", ", so list ",
                   count == 1 ? "it" : "them", " in train.freeze, or ", kAdvice));
}

}  // namespace

absl::Status CheckOptimizerState(const v1::OptimizerConfig& optimizer, const ModelConfig& config,
                                 const FrozenNames& frozen, const HfFolder& weights) {
  const absl::StatusOr<std::unique_ptr<SafetensorsFile>> file =
      SafetensorsFile::Open(absl::StrCat(weights.folder(), "/", kOptimizerName));
  if (absl::IsNotFound(file.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat(weights.folder(), " has no optimizer state; ", kAdvice));
  }
  RETURN_IF_ERROR(file.status());
  std::vector<std::string> trained, with_master;
  for (const WeightSpec& spec : WeightsOf(config)) {
    if (frozen.count(spec.name) > 0) continue;
    trained.push_back(spec.name);
    const TensorInfo* stored = weights.Find(spec.name);
    if (stored != nullptr && NeedsMaster(stored->dtype)) with_master.push_back(spec.name);
  }
  for (const std::string& state : OptimizerStates(optimizer)) {
    const std::vector<std::string> missing = Missing(**file, trained, state);
    if (missing.empty()) continue;
    if (missing.size() < trained.size()) return FrozenBefore(**file, missing);
    return absl::FailedPreconditionError(absl::StrCat(
        (*file)->path(), " has no ", state,
        ": the checkpoint is from a job with another optimizer or other frozen parameters; ",
        kAdvice));
  }
  const std::vector<std::string> missing = Missing(**file, with_master, kMasterName);
  return missing.empty() ? absl::OkStatus() : FrozenBefore(**file, missing);
}

}  // namespace trainerd::engine
