// SPDX-License-Identifier: Apache-2.0
#include "engine/model/adapter/adapter_folder.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "engine/formats/finite.h"
#include "engine/formats/float_values.h"
#include "engine/formats/placeholder_file.h"
#include "engine/model/folder/weight_spec.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr char kPrefix[] = "base_model.model.";

// What to do about a folder without the file `name`.
std::string MissingAdvice(const std::string& folder, const std::string& name) {
  const auto has = [&](const std::string& file) {
    return PathExists(absl::StrCat(folder, "/", file));
  };
  if (name == kAdapterWeightsName && has("adapter_model.bin")) {
    return "; adapter_model.bin is not read: load the adapter with peft and save it with "
           "save_pretrained, which writes safetensors";
  }
  if (name == kAdapterConfigName && has("config.json"))
    return "; it is a whole model: set model.path to it, and leave lora.adapter_path out";
  std::error_code error;
  std::vector<std::string> inner;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (IsAdapterFolder(it->path().string())) inner.push_back(it->path().string());
  }
  std::sort(inner.begin(), inner.end());
  if (!inner.empty()) return absl::StrCat("; use ", inner.back(), ", which has one");
  return "; lora.adapter_path needs a folder that save_pretrained of peft wrote";
}

absl::Status CheckExists(const std::string& folder, const std::string& name) {
  if (PathExists(absl::StrCat(folder, "/", name))) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(folder, " has no ", name, MissingAdvice(folder, name)));
}

// "model.layers.0.mlp.up_proj" of "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"; ""
// for another name.
std::string ModuleOf(const std::string& name) {
  absl::string_view rest(name);
  if (!absl::ConsumePrefix(&rest, kPrefix)) return "";
  for (const char* suffix :
       {".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B"}) {
    if (absl::ConsumeSuffix(&rest, suffix)) return std::string(rest);
  }
  return "";
}

// The weight of the model that a tensor is a copy of; "" if it is none.
std::string CopyOf(const std::string& name) {
  absl::string_view rest(name);
  if (!absl::ConsumePrefix(&rest, kPrefix)) return "";
  const std::string weight = absl::StrReplaceAll(rest, {{".base_layer.", "."}});
  return absl::EndsWith(weight, ".embed_tokens.weight") || weight == kHeadName ? weight : "";
}

}  // namespace

bool IsAdapterFolder(const std::string& folder) {
  return PathExists(absl::StrCat(folder, "/", kAdapterConfigName));
}

absl::StatusOr<std::unique_ptr<AdapterFolder>> AdapterFolder::Open(const std::string& folder) {
  if (!IsFolder(folder)) {
    return absl::NotFoundError(
        absl::StrCat(folder, PathExists(folder) ? " is not a folder" : ": no such folder"));
  }
  RETURN_IF_ERROR(CheckExists(folder, kAdapterConfigName));
  RETURN_IF_ERROR(CheckExists(folder, kAdapterWeightsName));
  std::unique_ptr<AdapterFolder> result(new AdapterFolder());
  result->folder_ = folder;
  const std::string path = absl::StrCat(folder, "/", kAdapterConfigName);
  ASSIGN_OR_RETURN(const std::string text, ReadRealFile(path));
  ASSIGN_OR_RETURN(result->config_, ParsePeftConfig(text, path));
  ASSIGN_OR_RETURN(result->file_,
                   SafetensorsFile::Open(absl::StrCat(folder, "/", kAdapterWeightsName)));
  RETURN_IF_ERROR(result->ReadNames());
  return result;
}

absl::Status AdapterFolder::ReadNames() {
  std::vector<std::string> unknown;
  for (const TensorInfo& info : file_->tensors()) {
    std::string name = info.name;
    if (absl::EndsWith(name, ".default")) name.resize(name.size() - 8);
    name = absl::StrReplaceAll(name, {{".default.weight", ".weight"}});
    if (const std::string copy = CopyOf(name); !copy.empty()) {
      copies_[copy] = &info;
    } else if (ModuleOf(name).empty()) {
      unknown.push_back(info.name);
    } else if (!tensors_.emplace(name, &info).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(file_->path(), " has the tensor \"", name, "\" twice"));
    }
  }
  if (unknown.empty()) return absl::OkStatus();
  std::sort(unknown.begin(), unknown.end());
  return absl::InvalidArgumentError(absl::StrCat(
      file_->path(), ": ", unknown.size(), unknown.size() == 1 ? " tensor is" : " tensors are",
      " no part of a LoRA adapter as PEFT saves it: ", ShortList(unknown),
      "; the names must be like base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"));
}

std::string AdapterFolder::BaseText() const {
  return config_.base_model.empty() ? "" : absl::StrCat("; the adapter is of ", config_.base_model);
}

absl::StatusOr<std::vector<AdapterTarget>> AdapterFolder::TargetsIn(
    const ModelConfig& model) const {
  std::set<std::string> modules;
  for (const auto& [name, info] : tensors_) modules.insert(ModuleOf(name));
  std::vector<AdapterTarget> targets;
  std::vector<std::string> missing;
  for (AdapterTarget& layer : AdaptableLayers(model)) {
    const bool is_stored = modules.erase(layer.module) > 0;
    const bool is_chosen =
        config_.choice == PeftConfig::Choice::kTensors ? is_stored : Chooses(config_, layer);
    if (is_chosen && !is_stored) missing.push_back(layer.module);
    // Its tensors are reported as those of layers that the model lacks.
    if (is_stored && !is_chosen) modules.insert(layer.module);
    if (is_chosen) targets.push_back(std::move(layer));
  }
  if (!missing.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file_->path(), " has no matrices for ", missing.size(), " of the layers that \"",
        "target_modules\" of ", kAdapterConfigName, " names: ", ShortList(missing),
        "; use the file that belongs to it, and the model that the adapter was trained on",
        BaseText()));
  }
  if (!modules.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file_->path(), " has matrices for layers that the model does not have or that \"",
        "target_modules\" of ", kAdapterConfigName,
        " does not name: ", ShortList({modules.begin(), modules.end()}),
        "; use the model that the adapter was trained on", BaseText()));
  }
  if (targets.empty())
    return absl::InvalidArgumentError(absl::StrCat(file_->path(), " has no tensors"));
  return targets;
}

absl::Status AdapterFolder::CheckTensor(const WeightSpec& spec) const {
  const auto found = tensors_.find(spec.name);
  const std::string where = absl::StrCat(file_->path(), ": tensor \"", spec.name, "\"");
  if (found == tensors_.end())
    return absl::InvalidArgumentError(absl::StrCat(where, " is missing"));
  const TensorInfo& info = *found->second;
  if (info.shape != spec.shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, " has shape ", ShapeText(info.shape), ", and the model with \"r\": ", config_.rank,
        " requires ", ShapeText(spec.shape), "; use the model that the adapter was trained on",
        BaseText()));
  }
  if (!IsWeightDtype(info.dtype)) {
    return absl::UnimplementedError(absl::StrCat(
        where, " has dtype ", std::string(DtypeName(info.dtype)), "; supported: F32, BF16, F16"));
  }
  const std::optional<int64_t> bad = FirstNonFinite(file_->Bytes(info), info.dtype);
  if (!bad.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(where, " holds NaN or infinity (first at element ", *bad,
                   ", counted from 0), so the adapter is damaged; use another one"));
}

absl::StatusOr<AdapterSpec> AdapterFolder::Resolve(const ModelConfig& model, double dropout) const {
  AdapterSpec adapter{
      .rank = config_.rank, .alpha = config_.alpha, .dropout = dropout, .rslora = config_.rslora};
  ASSIGN_OR_RETURN(adapter.targets, TargetsIn(model));
  const bool is_plain_list = config_.choice == PeftConfig::Choice::kNames &&
                             config_.excluded_modules.empty() && !config_.layers.has_value();
  adapter.target_modules =
      is_plain_list ? config_.target_modules : TargetModuleNames(adapter.targets, model);
  for (const WeightSpec& spec : AdapterWeights(adapter)) RETURN_IF_ERROR(CheckTensor(spec));
  return adapter;
}

absl::Status AdapterFolder::CheckModelCopies(const HfFolder& weights) const {
  for (const auto& [name, info] : copies_) {
    // A tied model has no head of its own.
    const std::string weight =
        weights.Find(name) == nullptr ? EmbeddingName(weights.weight_names()) : name;
    const TensorInfo* original = weights.Find(weight);
    if (original == nullptr) continue;
    const absl::StatusOr<std::string_view> bytes = weights.Bytes(weight, original->shape);
    RETURN_IF_ERROR(bytes.status());
    if (info->shape == original->shape &&
        IsCopy({file_->Bytes(*info), info->dtype}, {*bytes, original->dtype}))
      continue;
    return absl::InvalidArgumentError(absl::StrCat(
        file_->path(), ": tensor \"", info->name, "\" differs from ", weight, " of ",
        weights.folder(),
        ", so the adapter was trained on another model; set model.path to that model", BaseText()));
  }
  return absl::OkStatus();
}

StoredDtype AdapterFolder::DtypeOf(const std::string& name) const {
  const auto found = tensors_.find(name);
  TRAINERD_CHECK(found != tensors_.end());
  return found->second->dtype;
}

std::string_view AdapterFolder::Bytes(const std::string& name) const {
  const auto found = tensors_.find(name);
  TRAINERD_CHECK(found != tensors_.end());
  return file_->Bytes(*found->second);
}

}  // namespace trainerd::engine
