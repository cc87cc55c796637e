// SPDX-License-Identifier: Apache-2.0
#include "engine/model/hf_folder.h"

#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/json.h"
#include "engine/model/weight_spec.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

absl::Status NoWeights(const std::string& folder) {
  if (!Exists(folder)) return absl::NotFoundError(absl::StrCat(folder, ": no such folder"));
  std::string advice = "download the model's safetensors files";
  if (Exists(folder + "/pytorch_model.bin") || Exists(folder + "/pytorch_model.bin.index.json")) {
    advice = "pytorch_model.bin is not supported; convert it with transformers' save_pretrained";
  }
  return absl::NotFoundError(absl::StrCat(folder, ": the folder has no weights: neither ",
                                          kSingleFile, " nor ", kIndexFile, "; ", advice));
}

// tensor → file name of an index.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const absl::StatusOr<nlohmann::json> parsed = ParseJson(text);
  if (!parsed.ok()) {
    return absl::DataLossError(absl::StrCat(path, ": ", parsed.status().message()));
  }
  const nlohmann::json& json = *parsed;
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return absl::DataLossError(
        absl::StrCat(path, ": the index is not a JSON object with \"weight_map\""));
  }
  std::map<std::string, std::string> result;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string())
      return absl::DataLossError(absl::StrCat(path, ": tensor \"", tensor, "\" has no file name"));
    const std::string name = file.get<std::string>();
    // The index is untrusted: it may name files of this folder only.
    if (name.empty() || name.find('/') != std::string::npos || name == "..") {
      return absl::DataLossError(absl::StrCat(path, ": tensor \"", tensor, "\" names \"", name,
                                              "\", which is not a file of this folder"));
    }
    result[tensor] = name;
  }
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HfFolder>> HfFolder::Open(const std::string& folder) {
  auto result = std::unique_ptr<HfFolder>(new HfFolder());
  result->folder_ = folder;
  const std::string single = absl::StrCat(folder, "/", kSingleFile),
                    index = absl::StrCat(folder, "/", kIndexFile);
  // If both exist, the folder was saved twice; transformers reads the single file.
  if (Exists(single)) {
    ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(single));
    RETURN_IF_ERROR(result->AddFile(std::move(file)));
    return result;
  }
  if (!Exists(index)) return NoWeights(folder);
  ASSIGN_OR_RETURN(const auto weight_map, ReadIndex(index));
  std::set<std::string> names;
  for (const auto& [tensor, name] : weight_map) names.insert(name);
  for (const std::string& name : names) {
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> file =
        SafetensorsFile::Open(absl::StrCat(folder, "/", name));
    if (!file.ok()) return Annotate(file.status(), "shard named by ", kIndexFile);
    RETURN_IF_ERROR(result->AddFile(*std::move(file)));
  }
  for (const auto& [tensor, name] : weight_map) {
    if (result->Find(tensor) == nullptr) {
      return absl::DataLossError(absl::StrCat(index, ": tensor \"", tensor, "\" is not in ", name));
    }
  }
  return result;
}

absl::Status HfFolder::AddFile(std::unique_ptr<SafetensorsFile> file) {
  for (const TensorInfo& info : file->tensors()) {
    const auto [it, inserted] = entries_.emplace(info.name, Entry{file.get(), &info});
    if (!inserted) {
      return absl::DataLossError(absl::StrCat("tensor \"", info.name, "\" is in ",
                                              it->second.file->path(), " and in ", file->path()));
    }
  }
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

const TensorInfo* HfFolder::Find(std::string_view name) const {
  const auto it = entries_.find(absl::string_view(name.data(), name.size()));
  return it == entries_.end() ? nullptr : it->second.info;
}

absl::StatusOr<std::string_view> HfFolder::Bytes(std::string_view name,
                                                 absl::Span<const int64_t> shape) const {
  const auto it = entries_.find(absl::string_view(name.data(), name.size()));
  if (it == entries_.end())
    return absl::NotFoundError(absl::StrCat(folder_, ": no tensor \"", std::string(name), "\""));
  const Entry& entry = it->second;
  if (absl::MakeConstSpan(entry.info->shape) != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(entry.file->path(), ": tensor \"", std::string(name), "\" has shape ",
                     ShapeText(entry.info->shape), ", config.json requires ", ShapeText(shape)));
  }
  return entry.file->Bytes(*entry.info);
}

void HfFolder::Release(std::string_view name) const {
  const auto it = entries_.find(absl::string_view(name.data(), name.size()));
  if (it != entries_.end()) it->second.file->Release(*it->second.info);
}

absl::Status HfFolder::CheckComplete(const ModelConfig& config) const {
  std::vector<std::string> errors;
  for (const WeightSpec& spec : WeightsOf(config)) {
    absl::StatusOr<std::string_view> bytes = Bytes(spec.name, spec.shape);
    if (!bytes.ok()) {
      errors.push_back(std::string(bytes.status().message()));
      continue;
    }
    const StoredDtype dtype = Find(spec.name)->dtype;
    if (dtype != StoredDtype::kFloat32 && dtype != StoredDtype::kBFloat16 &&
        dtype != StoredDtype::kFloat16) {
      errors.push_back(absl::StrCat(folder_, ": tensor \"", spec.name, "\" has dtype ",
                                    std::string(DtypeName(dtype)), "; supported: F32, BF16, F16"));
    }
  }
  if (errors.empty()) return absl::OkStatus();
  constexpr size_t kMaxShown = 10;
  const size_t total = errors.size();
  if (total > kMaxShown) {
    errors.resize(kMaxShown);
    errors.push_back(absl::StrCat("and ", total - kMaxShown, " more"));
  }
  return absl::InvalidArgumentError(absl::StrCat("the weights do not fit config.json (", total,
                                                 " errors): ", absl::StrJoin(errors, "; ")));
}

}  // namespace trainerd::engine
