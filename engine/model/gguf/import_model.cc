// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/import_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "engine/model/folder/weight_spec.h"
#include "engine/model/gguf/architecture.h"
#include "engine/model/gguf/import_config.h"
#include "engine/model/gguf/import_tokenizer.h"
#include "engine/model/gguf/rope_factors.h"
#include "proto/base/atomic_file.h"
#include "proto/base/free_space.h"
#include "proto/base/new_path.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Elements that are converted at once.
constexpr int64_t kPieceElements = int64_t{1} << 20;

// A weight and the tensor that holds it.
struct Source {
  WeightSpec weight;
  const GgufTensor* tensor = nullptr;
  // The first row of the weight: of an expert's, in a tensor of all experts.
  int64_t begin_row = 0;
  // InterleavedHeads.
  int64_t interleaved_heads = 0;
  // Subtracted from each value.
  float offset = 0.0F;
};

// What the weights are written as, in both formats and in config.json.
struct OutputType {
  GgufType gguf;
  StoredDtype stored;
  const char* name;
};
constexpr OutputType kFloat32 = {GgufType::kF32, StoredDtype::kFloat32, "float32"},
                     kFloat16 = {GgufType::kF16, StoredDtype::kFloat16, "float16"},
                     kBFloat16 = {GgufType::kBF16, StoredDtype::kBFloat16, "bfloat16"};

OutputType OutputTypeOf(const GgufFile& file) {
  const auto all_matrices_are = [&](GgufType type) {
    return std::all_of(file.tensors().begin(), file.tensors().end(), [&](const auto& tensor) {
      // Routers are F32 in every file.
      return tensor.shape.size() < 2 || absl::EndsWith(tensor.name, ".ffn_gate_inp.weight") ||
             tensor.type == type;
    });
  };
  if (all_matrices_are(GgufType::kF32)) return kFloat32;
  return all_matrices_are(GgufType::kF16) ? kFloat16 : kBFloat16;
}

// The shape must be that of the weight, or of those of all experts.
absl::Status CheckShape(const GgufTensor& tensor, const WeightSpec& weight, int64_t num_experts) {
  std::vector<int64_t> shape = weight.shape;
  if (weight.expert >= 0) shape.insert(shape.begin(), num_experts);
  if (tensor.shape != shape) {
    return absl::InvalidArgumentError(absl::StrCat("tensor \"", tensor.name, "\" is ",
                                                   ShapeText(tensor.shape), ", but must be ",
                                                   ShapeText(shape)));
  }
  // Rows of one element are read one by one.
  const GgufTypeTraits& traits = TraitsOf(tensor.type);
  const int64_t row_elements = shape.size() < 2 ? 1 : shape.back();
  if (row_elements % traits.block_elements == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor \"", tensor.name, "\" is ", ShapeText(shape), ", which cannot be ",
                   std::string(traits.name), " with blocks of ", traits.block_elements));
}

// The tensors of the model, sorted by their names in transformers. Every tensor of the file must
// be one of them.
absl::StatusOr<std::vector<Source>> FindSources(const GgufFile& file, const ModelConfig& config,
                                                const GgufArchitecture& architecture) {
  std::vector<Source> sources;
  absl::flat_hash_set<std::string> known = {kRopeFactorsName, kRopeLongFactorsName,
                                            kRopeShortFactorsName};
  // Of a tied model it is the embedding.
  if (architecture.needs_head) known.insert("output.weight");
  for (WeightSpec& weight : WeightsOf(config)) {
    const std::string name = GgufNameOf(config, weight);
    known.insert(name);
    const GgufTensor* tensor = file.Find(name);
    if (tensor == nullptr)
      return absl::NotFoundError(absl::StrCat("tensor \"", name, "\" is missing"));
    RETURN_IF_ERROR(CheckShape(*tensor, weight, config.block.experts.count));
    Source source{.tensor = tensor,
                  .begin_row = std::max<int64_t>(weight.expert, 0) * weight.shape[0],
                  .interleaved_heads = InterleavedHeads(architecture, config, weight.role)};
    if (GroupOf(weight.role) == ParameterGroup::kNorm)
      source.offset = static_cast<float>(config.block.norm_offset);
    source.weight = std::move(weight);
    sources.push_back(std::move(source));
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (!known.contains(tensor.name)) {
      return absl::UnimplementedError(absl::StrCat("tensor \"", PlainText(tensor.name),
                                                   "\" is not part of a ",
                                                   std::string(architecture.name), " model"));
    }
  }
  std::sort(sources.begin(), sources.end(),
            [](const Source& a, const Source& b) { return a.weight.name < b.weight.name; });
  return sources;
}

// Where row `row` of the weight is in the tensor.
int64_t TensorRow(const Source& source, int64_t row) {
  if (source.interleaved_heads == 0) return source.begin_row + row;
  return GgufRowOf(row, source.weight.shape[0] / source.interleaved_heads);
}

absl::Status WriteWeight(const GgufFile& file, const Source& source, GgufType type,
                         SafetensorsWriter& writer) {
  const GgufTensor& tensor = *source.tensor;
  const std::string_view bytes = file.Bytes(tensor);
  const std::vector<int64_t>& shape = source.weight.shape;
  const int64_t rows = shape[0], row_elements = shape.size() < 2 ? 1 : shape[1];
  const int64_t row_bytes = GgufBytes(tensor.type, row_elements);
  const int64_t piece_rows = std::max<int64_t>(1, kPieceElements / row_elements);
  std::vector<float> values;
  std::string piece;
  for (int64_t begin = 0; begin < rows; begin += piece_rows) {
    const int64_t count = std::min(piece_rows, rows - begin);
    values.resize(static_cast<size_t>(count * row_elements));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t offset = TensorRow(source, begin + i) * row_bytes;
      Dequantize(tensor.type,
                 bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(row_bytes)),
                 absl::MakeSpan(values).subspan(static_cast<size_t>(i * row_elements),
                                                static_cast<size_t>(row_elements)));
    }
    if (source.offset != 0.0F) {
      for (float& value : values) value -= source.offset;
    }
    piece.clear();
    Quantize(type, values, &piece);
    RETURN_IF_ERROR(writer.Append(piece.data(), piece.size()));
  }
  file.Release(tensor);
  return absl::OkStatus();
}

absl::Status WriteWeights(const GgufFile& file, const std::vector<Source>& sources,
                          const OutputType& type, const std::string& path) {
  std::vector<SafetensorsWriter::Declared> declared;
  for (const Source& source : sources)
    declared.push_back({source.weight.name, type.stored, source.weight.shape});
  RETURN_IF_ERROR(CheckSpace(path, SafetensorsWriter::FileBytes(declared)));
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer,
                   SafetensorsWriter::Create(path, std::move(declared)));
  for (const Source& source : sources)
    RETURN_IF_ERROR(WriteWeight(file, source, type.gguf, *writer));
  return writer->Finish().status();
}

std::string GenerationConfig(const ImportedTokenizer& tokenizer) {
  const auto id_or_null = [](std::optional<int64_t> id) {
    return id ? nlohmann::ordered_json(*id) : nlohmann::ordered_json(nullptr);
  };
  const nlohmann::ordered_json config = {{"bos_token_id", id_or_null(tokenizer.bos)},
                                         {"eos_token_id", id_or_null(tokenizer.eos)},
                                         {"pad_token_id", id_or_null(tokenizer.pad)}};
  return config.dump(2) + "\n";
}

// Errors: Unimplemented for one of several files of a model.
absl::Status CheckWhole(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> count, metadata.OptionalCount("split.count"));
  if (!count || *count < 2) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("the file is one of ", *count,
                   " that hold the model; join them with llama-gguf-split --merge and import the "
                   "result"));
}

absl::StatusOr<ImportedModel> Import(const GgufFile& file, const std::string& folder) {
  RETURN_IF_ERROR(CheckWhole(file.metadata()));
  ASSIGN_OR_RETURN(const GgufArchitecture* architecture, ImportedArchitecture(file.metadata()));
  ASSIGN_OR_RETURN(const int64_t context, ImportedContextLength(file.metadata()));
  ASSIGN_OR_RETURN(const ImportedTokenizer tokenizer, ImportTokenizer(file.metadata(), context));
  const OutputType type = OutputTypeOf(file);
  ASSIGN_OR_RETURN(const std::string json, ImportConfig(file, tokenizer, type.name));
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(json, "config.json of the model"));
  ASSIGN_OR_RETURN(const std::vector<Source> sources, FindSources(file, config, *architecture));
  if (mkdir(folder.c_str(), 0777) != 0) return ErrnoStatus(errno, absl::StrCat("create ", folder));
  RETURN_IF_ERROR(WriteWeights(file, sources, type, folder + "/model.safetensors"));
  RETURN_IF_ERROR(WriteFileAtomic(folder + "/tokenizer.json", tokenizer.tokenizer, 0644));
  RETURN_IF_ERROR(WriteFileAtomic(folder + "/tokenizer_config.json", tokenizer.config, 0644));
  RETURN_IF_ERROR(
      WriteFileAtomic(folder + "/generation_config.json", GenerationConfig(tokenizer), 0644));
  RETURN_IF_ERROR(WriteFileAtomic(folder + "/config.json", json, 0644));
  ImportedModel model{.model_type = std::string(architecture->model_type), .dtype = type.name};
  for (const Source& source : sources) {
    ++model.num_tensors;
    int64_t elements = 1;
    for (const int64_t dimension : source.weight.shape) elements *= dimension;
    model.num_parameters += elements;
  }
  return model;
}

}  // namespace

absl::StatusOr<ImportedModel> ImportGguf(const std::string& gguf, const std::string& output) {
  ASSIGN_OR_RETURN(const std::unique_ptr<GgufFile> file, GgufFile::Open(gguf));
  ASSIGN_OR_RETURN(NewPath path, NewPath::Create(output));
  absl::StatusOr<ImportedModel> model = Import(*file, path.temporary());
  if (!model.ok()) return Annotate(model.status(), gguf);
  RETURN_IF_ERROR(path.Publish());
  return model;
}

}  // namespace trainerd::engine
