// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/formats/safetensors.h"
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

// Parameters of one file, in writing order.
using Shard = std::vector<const Parameter*>;

std::vector<Shard> SplitIntoShards(const ParameterSet& parameters,
                                   const WriteWeightsOptions& options, int64_t& total_bytes) {
  std::vector<Shard> shards(1);
  int64_t shard_bytes = 0;
  total_bytes = 0;
  for (const Parameter& parameter : parameters.parameters()) {
    const int64_t bytes =
        parameter.value.numel() * SizeOf(StoredDtypeOf(TargetType(parameter, options.dtype)));
    if (!shards.back().empty() && shard_bytes + bytes > options.max_shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(&parameter);
    shard_bytes += bytes;
    total_bytes += bytes;
  }
  return shards;
}

absl::StatusOr<ManifestFile> WriteShard(const std::string& path, const Shard& shard,
                                        const WriteWeightsOptions& options) {
  std::vector<SafetensorsWriter::Declared> declared;
  for (const Parameter* parameter : shard) {
    declared.push_back({parameter->name, StoredDtypeOf(TargetType(*parameter, options.dtype)),
                        parameter->value.sizes().vec()});
  }
  ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsWriter> writer,
                   SafetensorsWriter::Create(path, declared));
  for (size_t i = 0; i < shard.size(); ++i) {
    at::Tensor stored;
    RETURN_IF_ERROR(CatchTorch([&] {
      stored =
          shard[i]
              ->stored()
              .to(at::TensorOptions().device(at::kCPU).dtype(TargetType(*shard[i], options.dtype)))
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
    for (const Parameter* parameter : shards[i]) weight_map[parameter->name] = names[i];
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total_bytes}}},
                                        {"weight_map", weight_map}};
  return index.dump(2) + "\n";
}

}  // namespace

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
    ASSIGN_OR_RETURN(files[names[i]],
                     WriteShard(absl::StrCat(folder, "/", names[i]), shards[i], options));
  }
  if (shards.size() > 1) {
    constexpr char kIndex[] = "model.safetensors.index.json";
    ASSIGN_OR_RETURN(files[kIndex], WriteNewFile(absl::StrCat(folder, "/", kIndex),
                                                 IndexJson(shards, names, total_bytes)));
  }
  return files;
}

absl::StatusOr<std::map<std::string, ManifestFile>> CopyModelFiles(const std::string& from,
                                                                   const std::string& to) {
  std::map<std::string, ManifestFile> files;
  for (const std::string& name : ModelFiles(from)) {
    ASSIGN_OR_RETURN(const std::string contents, ReadFile(absl::StrCat(from, "/", name)));
    const std::string path = absl::StrCat(to, "/", name);
    RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(path).parent_path().string(), 0777));
    ASSIGN_OR_RETURN(files[name], WriteNewFile(path, contents));
  }
  if (files.count("config.json") != 0) return files;
  return absl::NotFoundError(absl::StrCat(from, " has no config.json"));
}

}  // namespace trainerd::engine
