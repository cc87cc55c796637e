// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/hf_folder.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "engine/formats/json.h"
#include "engine/formats/placeholder_file.h"
#include "engine/model/folder/weight_spec.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

absl::Status NoWeights(const std::string& folder) {
  if (!PathExists(folder)) return absl::NotFoundError(absl::StrCat(folder, ": no such folder"));
  std::string advice = "download the model's safetensors files";
  if (PathExists(folder + "/pytorch_model.bin") ||
      PathExists(folder + "/pytorch_model.bin.index.json")) {
    advice = "pytorch_model.bin is not supported; convert it with transformers' save_pretrained";
  }
  return absl::NotFoundError(absl::StrCat(folder, ": the folder has no weights: neither ",
                                          kSingleFile, " nor ", kIndexFile, "; ", advice));
}

// tensor → file name of an index.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadRealFile(path));
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

// NotFound that lists the files of an index that do not exist.
absl::Status CheckShardsExist(const std::string& folder, const std::set<std::string>& names) {
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    if (!PathExists(absl::StrCat(folder, "/", name))) missing.push_back(name);
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(
      folder, ": ", missing.size(), " of the ", names.size(), " files that ", kIndexFile,
      " names do not exist: ", ShortList(missing), "; download all files of the model"));
}

// Whether the tensor `name` belongs to `module`, which may be null: there is no such module.
bool IsIn(const char* module, const std::string& name) {
  return module != nullptr && absl::StartsWith(name, absl::StrCat(module, "."));
}

// The suffixes of the tensors that quantizers write beside or instead of a weight: GPTQ and AWQ,
// bitsandbytes, FP8 and compressed-tensors.
bool IsOfQuantizer(const std::string& name) {
  for (const char* suffix : {".qweight", ".qzeros", ".scales", ".weight_packed", ".weight_scale",
                             ".weight_scale_inv", ".absmax", ".quant_map", ".SCB"}) {
    if (absl::EndsWith(name, suffix)) return true;
  }
  return absl::StrContains(name, ".quant_state.");
}

// Whether two tensors are equal in what `check` compares.
bool AreEqual(std::string_view a, std::string_view b, HeadCheck check) {
  if (a.size() != b.size()) return false;
  constexpr size_t kSamples = 64, kSampleBytes = 64 << 10;
  if (check == HeadCheck::kAll || a.size() <= kSamples * kSampleBytes) return a == b;
  for (size_t i = 0; i < kSamples; ++i) {
    const size_t begin = (a.size() - kSampleBytes) * i / (kSamples - 1);
    if (a.substr(begin, kSampleBytes) != b.substr(begin, kSampleBytes)) return false;
  }
  return true;
}

}  // namespace

int64_t LayerOf(std::string_view name) {
  absl::string_view rest(name.data(), name.size());
  int64_t layer = -1;
  if (!absl::ConsumePrefix(&rest, "model.")) return -1;
  absl::ConsumePrefix(&rest, "language_model.");
  if (!absl::ConsumePrefix(&rest, "layers.")) return -1;
  return absl::SimpleAtoi(rest.substr(0, rest.find('.')), &layer) ? layer : -1;
}

std::string ShortList(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  const size_t shown = std::min(names.size(), kShown);
  std::string text = absl::StrJoin(absl::MakeConstSpan(names).first(shown), ", ");
  if (shown < names.size()) absl::StrAppend(&text, " and ", names.size() - shown, " more");
  return text;
}

absl::StatusOr<std::unique_ptr<HfFolder>> HfFolder::Open(const std::string& folder,
                                                         const WeightNames& names) {
  auto result = std::unique_ptr<HfFolder>(new HfFolder());
  result->folder_ = folder;
  result->names_ = names;
  const std::string single = absl::StrCat(folder, "/", kSingleFile),
                    index = absl::StrCat(folder, "/", kIndexFile);
  // If both exist, the folder was saved twice; transformers reads the single file.
  if (PathExists(single)) {
    ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(single));
    RETURN_IF_ERROR(result->AddFile(std::move(file)));
    return result;
  }
  if (!PathExists(index)) return NoWeights(folder);
  ASSIGN_OR_RETURN(const auto weight_map, ReadIndex(index));
  std::set<std::string> shards;
  for (const auto& [tensor, name] : weight_map) shards.insert(name);
  RETURN_IF_ERROR(CheckShardsExist(folder, shards));
  for (const std::string& name : shards) {
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> file =
        SafetensorsFile::Open(absl::StrCat(folder, "/", name));
    if (!file.ok()) return Annotate(file.status(), "shard named by ", kIndexFile);
    RETURN_IF_ERROR(result->AddFile(*std::move(file)));
  }
  for (const auto& [tensor, name] : weight_map) {
    if (result->Find(result->CurrentName(tensor)) == nullptr) {
      return absl::DataLossError(absl::StrCat(index, ": tensor \"", tensor, "\" is not in ", name));
    }
  }
  return result;
}

absl::Status HfFolder::AddFile(std::unique_ptr<SafetensorsFile> file) {
  for (const TensorInfo& info : file->tensors()) {
    const std::string name = CurrentName(info.name);
    has_older_names_ |= name != info.name && !IsIn(names_.vision, name);
    const auto [it, inserted] = entries_.emplace(name, Entry{file.get(), &info});
    if (!inserted) {
      return absl::DataLossError(absl::StrCat("tensor \"", info.name, "\" is in ",
                                              it->second.file->path(), " and in ", file->path()));
    }
  }
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

std::string HfFolder::CurrentName(const std::string& name) const {
  if (IsIn(names_.decoder, name) || IsIn(names_.vision, name)) return name;
  if (IsIn(names_.older_vision, name))
    return absl::StrCat(names_.vision, name.substr(std::strlen(names_.older_vision)));
  if (IsIn(names_.older_decoder, name))
    return absl::StrCat(names_.decoder, name.substr(std::strlen(names_.older_decoder)));
  return name;
}

std::string HfFolder::NameInFiles(const std::string& name) const {
  if (!has_older_names_ || !IsIn(names_.decoder, name)) return name;
  return absl::StrCat(names_.older_decoder, name.substr(std::strlen(names_.decoder)));
}

std::vector<TensorInfo> HfFolder::VisionTensors() const {
  std::vector<TensorInfo> tensors;
  for (const std::string& name : Names()) {
    if (IsIn(names_.vision, name)) tensors.push_back(*Find(name));
  }
  return tensors;
}

std::vector<std::string> HfFolder::Names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

std::string HfFolder::FileOf(std::string_view name) const {
  const auto it = entries_.find(CurrentName(std::string(name)));
  return it == entries_.end() ? "" : it->second.file->path();
}

bool HfFolder::MatchHead(HeadCheck check, ModelConfig& config) {
  if (!config.tie_word_embeddings) return false;
  const auto head = entries_.find(kHeadName);
  if (head == entries_.end()) return false;
  const Entry ours = head->second;
  const auto [embedding, only_head] = entries_.try_emplace(EmbeddingName(names_), ours);
  if (only_head) return false;
  const Entry theirs = embedding->second;
  config.tie_word_embeddings =
      ours.info->shape == theirs.info->shape && ours.info->dtype == theirs.info->dtype &&
      AreEqual(ours.file->Bytes(*ours.info), theirs.file->Bytes(*theirs.info), check);
  return !config.tie_word_embeddings;
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

std::string HfFolder::Fingerprint(const ModelConfig& config) const {
  constexpr size_t kPartBytes = 4 << 10;
  Xxh3Stream hash;
  for (const WeightSpec& spec : WeightsOf(config)) {
    const absl::StatusOr<std::string_view> bytes = Bytes(spec.name, spec.shape);
    TRAINERD_CHECK(bytes.ok());
    const std::string header = absl::StrCat(spec.name, ShapeText(spec.shape),
                                            std::string(DtypeName(Find(spec.name)->dtype)));
    hash.Update(header.data(), header.size());
    const size_t part = std::min(kPartBytes, bytes->size());
    for (const size_t begin : {size_t{0}, (bytes->size() - part) / 2, bytes->size() - part})
      hash.Update(bytes->data() + begin, part);
  }
  return hash.Digest();
}

absl::Status HfFolder::CheckComplete(const ModelConfig& config) const {
  for (const std::string& name : Names()) {
    if (!IsOfQuantizer(name)) continue;
    return absl::UnimplementedError(
        absl::StrCat(FileOf(name), ": the weights are quantized (tensor \"", name,
                     "\"), and trainerd trains full-precision weights; set model.path to the "
                     "folder of the model that was quantized (bf16, fp16 or fp32)"));
  }
  std::vector<std::string> errors;
  // The layers from the first one without any weight.
  int64_t num_layers = 0, num_missing = 0;
  for (const std::string& name : Names()) num_layers = std::max(num_layers, LayerOf(name) + 1);
  for (const WeightSpec& spec : WeightsOf(config)) {
    absl::StatusOr<std::string_view> bytes = Bytes(spec.name, spec.shape);
    if (!bytes.ok()) {
      if (spec.layer >= num_layers) ++num_missing;
      errors.push_back(std::string(bytes.status().message()));
      if (spec.role == WeightRole::kHead && Find(spec.name) == nullptr)
        errors.back() += " (if the head is the embedding, set \"tie_word_embeddings\": true)";
      continue;
    }
    const StoredDtype dtype = Find(spec.name)->dtype;
    if (!IsWeightDtype(dtype)) {
      errors.push_back(absl::StrCat(folder_, ": tensor \"", spec.name, "\" has dtype ",
                                    std::string(DtypeName(dtype)), "; supported: F32, BF16, F16"));
    }
  }
  if (errors.empty() && config.names.vision != nullptr && VisionTensors().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        folder_, ": config.json describes a vision-language model, and the folder has no tensor ",
        config.names.vision, ".* of its vision part; download all files of the model"));
  }
  if (errors.empty()) return absl::OkStatus();
  if (num_layers > 0 && num_missing == static_cast<int64_t>(errors.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder_, " has the weights of ", num_layers, " layers and config.json has ",
                     config.num_layers, "; set \"num_hidden_layers\": ", num_layers,
                     " in config.json, or download all files of the model"));
  }
  constexpr size_t kMaxShown = 10;
  const size_t total = errors.size();
  if (total > kMaxShown) {
    errors.resize(kMaxShown);
    errors.push_back(absl::StrCat("and ", total - kMaxShown, " more"));
  }
  return absl::InvalidArgumentError(absl::StrCat("the weights do not fit config.json (",
                                                 Counted(static_cast<int64_t>(total), "error"),
                                                 "): ", absl::StrJoin(errors, "; ")));
}

}  // namespace trainerd::engine
