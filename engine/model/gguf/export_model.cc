// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/export_model.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/formats/float_values.h"
#include "engine/formats/gguf/gguf_writer.h"
#include "engine/formats/json.h"
#include "engine/formats/placeholder_file.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/folder/weight_spec.h"
#include "engine/model/gguf/architecture.h"
#include "engine/model/gguf/export_metadata.h"
#include "engine/model/gguf/export_tokenizer.h"
#include "proto/base/free_space.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Elements that are converted at once.
constexpr int64_t kPieceElements = int64_t{1} << 20;

// "general.file_type" of the GGUF specification.
int64_t FileType(GgufType type) {
  if (type == GgufType::kF32) return 0;
  return type == GgufType::kQ8_0 ? 7 : 32;
}

// A tensor of the file.
struct Target {
  std::string name;
  std::vector<int64_t> shape;
  // The weights that it holds, one behind the other: one, or those of all experts of a layer.
  std::vector<WeightSpec> parts;
  GgufType type = GgufType::kF32;
  // InterleavedHeads.
  int64_t interleaved_heads = 0;
  // Added to each value.
  float offset = 0.0F;

  int64_t Bytes() const {
    int64_t elements = 1;
    for (const int64_t dimension : shape) elements *= dimension;
    return GgufBytes(type, elements);
  }
};

bool IsNorm(WeightRole role) { return GroupOf(role) == ParameterGroup::kNorm; }

GgufType TypeOf(const WeightSpec& weight, GgufType type) {
  if (weight.shape.size() < 2 || weight.role == WeightRole::kRouter) return GgufType::kF32;
  const int64_t row = weight.shape.back();
  return row % TraitsOf(type).block_elements == 0 ? type : GgufType::kBF16;
}

std::vector<Target> TargetsOf(const ModelConfig& config, const GgufArchitecture& architecture,
                              GgufType type) {
  std::vector<WeightSpec> weights = WeightsOf(config);
  if (architecture.needs_head && config.tie_word_embeddings) {
    const auto embedding = std::find_if(
        weights.begin(), weights.end(),
        [](const WeightSpec& weight) { return weight.role == WeightRole::kEmbedding; });
    WeightSpec head = *embedding;
    head.role = WeightRole::kHead;
    weights.push_back(std::move(head));
  }
  std::vector<Target> targets;
  absl::flat_hash_map<std::string, size_t> indices;
  for (WeightSpec& weight : weights) {
    std::string name = GgufNameOf(config, weight);
    const auto [index, is_new] = indices.emplace(name, targets.size());
    if (is_new) {
      Target target{.name = std::move(name),
                    .shape = weight.shape,
                    .type = TypeOf(weight, type),
                    .interleaved_heads = InterleavedHeads(architecture, config, weight.role)};
      if (IsNorm(weight.role)) target.offset = static_cast<float>(config.block.norm_offset);
      if (weight.expert >= 0) target.shape.insert(target.shape.begin(), config.block.experts.count);
      targets.push_back(std::move(target));
    }
    targets[index->second].parts.push_back(std::move(weight));
  }
  return targets;
}

absl::Status AppendWeight(const HfFolder& folder, const Target& target, const WeightSpec& weight,
                          GgufWriter& writer) {
  ASSIGN_OR_RETURN(const std::string_view bytes, folder.Bytes(weight.name, weight.shape));
  const StoredValues stored{.bytes = bytes, .dtype = folder.Find(weight.name)->dtype};
  const int64_t rows = weight.shape[0];
  int64_t row_elements = 1;
  for (size_t i = 1; i < weight.shape.size(); ++i) row_elements *= weight.shape[i];
  const int64_t piece_rows = std::max<int64_t>(1, kPieceElements / row_elements);
  std::vector<float> values;
  std::string piece;
  for (int64_t begin = 0; begin < rows; begin += piece_rows) {
    const int64_t end = std::min(rows, begin + piece_rows);
    values.clear();
    for (int64_t row = begin; row < end; ++row) {
      const int64_t from =
          target.interleaved_heads == 0 ? row : HfRowOf(row, rows / target.interleaved_heads);
      for (int64_t i = 0; i < row_elements; ++i) {
        values.push_back(ValueAt(stored, static_cast<size_t>(from * row_elements + i)) +
                         target.offset);
      }
    }
    piece.clear();
    Quantize(target.type, values, &piece);
    RETURN_IF_ERROR(writer.Append(piece));
  }
  folder.Release(weight.name);
  return absl::OkStatus();
}

// The opened folder and what its configuration says.
struct Source {
  std::unique_ptr<HfFolder> folder;
  nlohmann::json json;
  ModelConfig config;
  const GgufArchitecture* architecture = nullptr;
};

absl::StatusOr<Source> OpenSource(const std::string& folder) {
  Source source;
  ASSIGN_OR_RETURN(source.config, ReadModelConfig(folder));
  const std::string path = folder + "/config.json";
  ASSIGN_OR_RETURN(const std::string text, ReadRealFile(path));
  ASSIGN_OR_RETURN(source.json, AsJsonObject(ParseJson(text), path));
  const std::string model_type = source.json.value("model_type", "");
  source.architecture = FindGgufArchitecture(model_type);
  if (source.architecture == nullptr) {
    return absl::UnimplementedError(absl::StrCat(path, ": model_type \"", model_type,
                                                 "\" cannot be exported as GGUF; supported are ",
                                                 GgufModelTypes()));
  }
  ASSIGN_OR_RETURN(source.folder, HfFolder::Open(folder, source.config.names));
  source.folder->MatchHead(HeadCheck::kAll, source.config);
  RETURN_IF_ERROR(source.folder->CheckComplete(source.config));
  return source;
}

absl::StatusOr<GgufEntries> MakeEntries(const std::string& folder, const Source& source,
                                        const GgufExport& options,
                                        std::vector<ExtraTensor>& extra) {
  GgufEntries entries;
  entries.AddText("general.architecture", source.architecture->name);
  entries.AddText("general.type", "model");
  entries.AddText("general.name", options.name);
  entries.AddUint32("general.file_type", FileType(options.type));
  if (options.type == GgufType::kQ8_0) entries.AddUint32("general.quantization_version", 2);
  if (const absl::Status status =
          AddModelEntries(source.config, source.json, *source.architecture, entries, extra);
      !status.ok())
    return Annotate(status, folder);
  RETURN_IF_ERROR(AddTokenizerEntries(folder, source.config.vocab_size, entries));
  return entries;
}

}  // namespace

absl::StatusOr<GgufType> GgufTypeOf(std::string_view name) {
  if (name == "f32") return GgufType::kF32;
  if (name == "bf16") return GgufType::kBF16;
  if (name == "q8_0") return GgufType::kQ8_0;
  return absl::InvalidArgumentError(
      absl::StrCat("type \"", std::string(name), "\" is not known; use f32, bf16 or q8_0"));
}

absl::Status WriteGguf(const std::string& folder, const std::string& path,
                       const GgufExport& options) {
  ASSIGN_OR_RETURN(const Source source, OpenSource(folder));
  std::vector<ExtraTensor> extra;
  ASSIGN_OR_RETURN(const GgufEntries entries, MakeEntries(folder, source, options, extra));
  const std::vector<Target> targets = TargetsOf(source.config, *source.architecture, options.type);
  std::vector<GgufWriter::Declared> declared;
  int64_t weight_bytes = 0;
  for (const ExtraTensor& tensor : extra) {
    declared.push_back({tensor.name, GgufType::kF32, {static_cast<int64_t>(tensor.values.size())}});
  }
  for (const Target& target : targets) {
    weight_bytes += target.Bytes();
    declared.push_back({target.name, target.type, target.shape});
  }
  RETURN_IF_ERROR(CheckSpace(path, weight_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer,
                   GgufWriter::Create(path, entries, std::move(declared)));
  for (const ExtraTensor& tensor : extra) {
    std::string bytes;
    Quantize(GgufType::kF32, tensor.values, &bytes);
    RETURN_IF_ERROR(writer->Append(bytes));
  }
  for (const Target& target : targets) {
    for (const WeightSpec& weight : target.parts)
      RETURN_IF_ERROR(AppendWeight(*source.folder, target, weight, *writer));
  }
  return writer->Finish();
}

}  // namespace trainerd::engine
