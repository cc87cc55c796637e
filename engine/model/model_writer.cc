// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/formats/safetensors.h"
#include "engine/model/adapter/peft_config.h"
#include "engine/model/folder/adapter.h"
#include "engine/model/folder/model_files.h"
#include "engine/model/stored_dtype.h"
#include "engine/platform/torch_status.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/fd.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// A tensor of the file: a parameter, and the adapter that is merged into it; or one that is kept.
struct Written {
  std::string name;
  // Null: tensor `kept` of ParameterSet::kept.
  const Parameter* parameter = nullptr;
  size_t kept = 0;
  // Both or neither.
  const Parameter* a = nullptr;
  const Parameter* b = nullptr;
  bool is_embedding = false;
  double scale = 0.0;
};

// The adapter of each tensor, and the head that it unties.
void AddAdapter(const ParameterSet& parameters, const AdapterSpec& adapter,
                std::vector<Written>& tensors) {
  // The first parameter is the embedding.
  if (MergeUnties(adapter, parameters.Find(kHeadName) == nullptr))
    tensors.push_back({.name = kHeadName, .parameter = &parameters.parameters().front()});
  std::map<std::string, const AdapterTarget*> targets;
  for (const AdapterTarget& target : adapter.targets) targets[target.module + ".weight"] = &target;
  for (Written& tensor : tensors) {
    const bool is_head = tensor.name == kHeadName;
    const auto found = targets.find(is_head ? kHeadName : tensor.parameter->name);
    if (found == targets.end()) continue;
    const AdapterTarget& target = *found->second;
    tensor.a = parameters.Find(AdapterWeightName(target, WeightRole::kAdapterA));
    tensor.b = parameters.Find(AdapterWeightName(target, WeightRole::kAdapterB));
    tensor.is_embedding = target.role == WeightRole::kEmbedding;
    tensor.scale = adapter.scale();
  }
}

// The tensors of the model, in writing order.
std::vector<Written> ModelTensors(const ParameterSet& parameters) {
  std::vector<Written> tensors;
  for (const Parameter& parameter : parameters.parameters()) {
    if (!parameter.is_of_adapter())
      tensors.push_back({.name = parameter.name_in_files, .parameter = &parameter});
  }
  if (parameters.adapter() != nullptr) AddAdapter(parameters, *parameters.adapter(), tensors);
  for (size_t i = 0; i < parameters.kept().tensors().size(); ++i)
    tensors.push_back({.name = parameters.kept().tensors()[i].name, .kept = i});
  return tensors;
}

at::ScalarType TargetType(const Parameter& parameter, WriteWeightsOptions::Dtype dtype) {
  switch (dtype) {
    case WriteWeightsOptions::Dtype::kSource:
      return parameter.source_dtype;
    case WriteWeightsOptions::Dtype::kFloat32:
      return at::kFloat;
    case WriteWeightsOptions::Dtype::kBFloat16:
      return at::kBFloat16;
  }
  return parameter.source_dtype;
}

SafetensorsWriter::Declared DeclaredOf(const Written& tensor, const ParameterSet& parameters,
                                       WriteWeightsOptions::Dtype dtype) {
  if (tensor.parameter == nullptr) {
    const TensorInfo& kept = parameters.kept().tensors()[tensor.kept];
    return {kept.name, kept.dtype, kept.shape};
  }
  return {tensor.name, StoredDtypeOf(TargetType(*tensor.parameter, dtype)),
          tensor.parameter->value.sizes().vec()};
}

// Tensors of one file, in writing order.
using Shard = std::vector<Written>;

int64_t BytesOf(const SafetensorsWriter::Declared& tensor) {
  int64_t bytes = SizeOf(tensor.dtype);
  for (const int64_t size : tensor.shape) bytes *= size;
  return bytes;
}

std::vector<Shard> SplitIntoShards(const ParameterSet& parameters,
                                   const WriteWeightsOptions& options, int64_t& total_bytes) {
  std::vector<Shard> shards(1);
  int64_t shard_bytes = 0;
  total_bytes = 0;
  for (Written& tensor : ModelTensors(parameters)) {
    const int64_t bytes = BytesOf(DeclaredOf(tensor, parameters, options.dtype));
    if (!shards.back().empty() && shard_bytes + bytes > options.max_shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(std::move(tensor));
    shard_bytes += bytes;
    total_bytes += bytes;
  }
  return shards;
}

// Rows [begin, begin + count) of the matrix `stored` with the adapter, fp32.
at::Tensor MergedRows(const Written& tensor, const at::Tensor& stored, int64_t begin,
                      int64_t count) {
  const at::Tensor& a = tensor.a->master;
  const at::Tensor& b = tensor.b->master;
  const at::Tensor rows =
      stored.narrow(0, begin, count).to(a.options(), /*non_blocking=*/false, /*copy=*/true);
  if (tensor.is_embedding)
    return rows.addmm_(a.narrow(1, begin, count).t(), b.t(), 1, tensor.scale);
  return rows.addmm_(b.narrow(0, begin, count), a, 1, tensor.scale);
}

absl::Status AppendMerged(const Written& tensor, const WriteWeightsOptions& options,
                          SafetensorsWriter& writer) {
  const at::ScalarType type = TargetType(*tensor.parameter, options.dtype);
  at::Tensor stored;
  RETURN_IF_ERROR(CatchTorch([&] { stored = tensor.parameter->stored(); }));
  const int64_t step = std::max<int64_t>(1, options.max_merge_elements / stored.size(1));
  for (int64_t begin = 0; begin < stored.size(0); begin += step) {
    at::Tensor rows;
    bool is_finite = false;
    RETURN_IF_ERROR(CatchTorch([&] {
      const int64_t count = std::min(step, stored.size(0) - begin);
      rows = MergedRows(tensor, stored, begin, count)
                 .to(at::TensorOptions().device(at::kCPU).dtype(type))
                 .contiguous();
      is_finite = rows.isfinite().all().item<bool>();
    }));
    if (!is_finite) {
      return absl::OutOfRangeError(
          absl::StrCat("a weight of ", tensor.name, " with the adapter merged exceeds ",
                       std::string(DtypeName(StoredDtypeOf(type))),
                       ", the dtype of the model; use output.form: adapter"));
    }
    RETURN_IF_ERROR(writer.Append(rows.const_data_ptr(), rows.nbytes()));
  }
  return absl::OkStatus();
}

absl::StatusOr<ManifestFile> WriteShard(const std::string& path, const Shard& shard,
                                        const ParameterSet& parameters,
                                        const WriteWeightsOptions& options) {
  std::vector<SafetensorsWriter::Declared> declared;
  for (const Written& tensor : shard)
    declared.push_back(DeclaredOf(tensor, parameters, options.dtype));
  ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsWriter> writer,
                   SafetensorsWriter::Create(path, declared));
  for (const Written& tensor : shard) {
    if (tensor.parameter == nullptr) {
      RETURN_IF_ERROR(parameters.kept().Append(tensor.kept, *writer));
      continue;
    }
    if (tensor.a != nullptr) {
      RETURN_IF_ERROR(AppendMerged(tensor, options, *writer));
      continue;
    }
    const at::ScalarType type = TargetType(*tensor.parameter, options.dtype);
    at::Tensor stored;
    RETURN_IF_ERROR(CatchTorch([&] {
      stored = tensor.parameter->stored()
                   .to(at::TensorOptions().device(at::kCPU).dtype(type))
                   .contiguous();
    }));
    RETURN_IF_ERROR(writer->Append(stored.const_data_ptr(), stored.nbytes()));
  }
  ASSIGN_OR_RETURN(const SafetensorsWriter::Result result, writer->Finish());
  return ManifestFile{.size_bytes = result.size_bytes, .xxh3_hex = ToHex(result.xxh3)};
}

// A new file with these bytes, fsynced.
absl::StatusOr<ManifestFile> WriteNewFile(const std::string& path, const std::string& contents) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd.is_open()) return ErrnoStatus(errno, absl::StrCat("create ", path));
  RETURN_IF_ERROR(WriteAll(fd.get(), contents, path));
  if (fsync(fd.get()) != 0) return ErrnoStatus(errno, absl::StrCat("fsync ", path));
  return ManifestFile{.size_bytes = static_cast<int64_t>(contents.size()),
                      .xxh3_hex = ToHex(Xxh3(contents))};
}

std::string IndexJson(const std::vector<Shard>& shards, const std::vector<std::string>& names,
                      int64_t total_bytes) {
  nlohmann::ordered_json weight_map = nlohmann::ordered_json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const Written& tensor : shards[i]) weight_map[tensor.name] = names[i];
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total_bytes}}},
                                        {"weight_map", weight_map}};
  return index.dump(2) + "\n";
}

absl::StatusOr<std::map<std::string, ManifestFile>> CopyFiles(const std::string& from,
                                                              const std::vector<std::string>& names,
                                                              const std::string& to) {
  std::map<std::string, ManifestFile> files;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::string contents, ReadFile(absl::StrCat(from, "/", name)));
    const std::string path = absl::StrCat(to, "/", name);
    RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(path).parent_path().string(), 0777));
    ASSIGN_OR_RETURN(files[name], WriteNewFile(path, contents));
  }
  return files;
}

}  // namespace

int64_t ModelWeightBytes(const ParameterSet& parameters, WriteWeightsOptions::Dtype dtype) {
  int64_t bytes = 0;
  for (const Written& tensor : ModelTensors(parameters))
    bytes += BytesOf(DeclaredOf(tensor, parameters, dtype));
  return bytes;
}

absl::StatusOr<std::map<std::string, ManifestFile>> WriteModelWeights(
    const std::string& folder, const ParameterSet& parameters, const WriteWeightsOptions& options) {
  std::map<std::string, ManifestFile> files;
  int64_t total_bytes = 0;
  const std::vector<Shard> shards = SplitIntoShards(parameters, options, total_bytes);
  std::vector<std::string> names;
  for (size_t i = 0; i < shards.size(); ++i) {
    names.push_back(shards.size() == 1
                        ? "model.safetensors"
                        : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size()));
    ASSIGN_OR_RETURN(files[names[i]], WriteShard(absl::StrCat(folder, "/", names[i]), shards[i],
                                                 parameters, options));
  }
  if (shards.size() > 1) {
    constexpr char kIndex[] = "model.safetensors.index.json";
    ASSIGN_OR_RETURN(files[kIndex], WriteNewFile(absl::StrCat(folder, "/", kIndex),
                                                 IndexJson(shards, names, total_bytes)));
  }
  return files;
}

absl::StatusOr<std::map<std::string, ManifestFile>> WriteAdapterWeights(
    const std::string& folder, const ParameterSet& parameters) {
  Shard tensors;
  for (const Parameter& parameter : parameters.parameters()) {
    if (parameter.is_of_adapter())
      tensors.push_back({.name = parameter.name, .parameter = &parameter});
  }
  std::map<std::string, ManifestFile> files;
  ASSIGN_OR_RETURN(files[kAdapterWeightsName],
                   WriteShard(absl::StrCat(folder, "/", kAdapterWeightsName), tensors, parameters,
                              {.dtype = WriteWeightsOptions::Dtype::kFloat32}));
  return files;
}

absl::StatusOr<std::map<std::string, ManifestFile>> CopyModelFiles(const std::string& from,
                                                                   const std::string& to) {
  ASSIGN_OR_RETURN(auto files, CopyFiles(from, ModelFiles(from), to));
  if (files.count("config.json") != 0) return files;
  return absl::NotFoundError(absl::StrCat(from, " has no config.json"));
}

absl::StatusOr<std::map<std::string, ManifestFile>> CopyAdapterFiles(const std::string& from,
                                                                     const std::string& to) {
  return CopyFiles(from, AdapterFiles(from), to);
}

}  // namespace trainerd::engine
