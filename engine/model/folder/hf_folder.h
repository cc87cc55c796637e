// SPDX-License-Identifier: Apache-2.0
// The weights of a Hugging Face model folder: model.safetensors, or the shards that
// model.safetensors.index.json names. Open reads and checks the headers; Bytes reads weights. No
// LibTorch.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/formats/safetensors.h"
#include "engine/model/config/model_config.h"

namespace trainerd::engine {

// How MatchHead compares the head with the embedding. The sample, 4 MiB of each, is for checks that
// must be quick.
enum class HeadCheck { kAll, kSample };

// Immutable after Open, but for MatchHead; thread-safe.
class HfFolder {
 public:
  // Errors: NotFound if the folder or the weights do not exist (names the expected files, and all
  // missing shards; for a folder with .bin files only, how to convert them); DataLoss for a damaged
  // file, an index that names a missing tensor, or a tensor that is in two shards.
  // `names` are those of the model: tensors with an older name get the newer one.
  static absl::StatusOr<std::unique_ptr<HfFolder>> Open(const std::string& folder,
                                                        const WeightNames& names = {});

  const std::string& folder() const { return folder_; }
  const WeightNames& weight_names() const { return names_; }
  // Names of all tensors, sorted.
  std::vector<std::string> Names() const;
  // nullptr if absent. The pointer is valid as long as this object. TensorInfo::name is that in the
  // file.
  const TensorInfo* Find(std::string_view name) const;
  // The tensors of the vision part, sorted by name.
  std::vector<TensorInfo> VisionTensors() const;
  // How files of this folder's kind name the weight `name` of the decoder.
  std::string NameInFiles(const std::string& name) const;
  // Path of the file that holds the tensor, also for its older name; "" if absent.
  std::string FileOf(std::string_view name) const;
  // Bytes of tensor `name`, which must have that shape. Errors: NotFound names tensor and folder;
  // InvalidArgument names file, tensor, and both shapes.
  absl::StatusOr<std::string_view> Bytes(std::string_view name,
                                         absl::Span<const int64_t> shape) const;
  // SafetensorsFile::Release of that tensor.
  void Release(std::string_view name) const;

  // Checks that every weight of `config` exists with its shape and a supported dtype. Errors:
  // InvalidArgument lists the violations, or says that the vision part is missing; Unimplemented
  // for quantized weights.
  absl::Status CheckComplete(const ModelConfig& config) const;

  // XXH3-128 over name, shape and dtype of each weight of `config`, and over parts of its values
  // (12 KiB at most): weights of another training differ in it. The weights must be complete.
  std::string Fingerprint(const ModelConfig& config) const;

  // Under tie_word_embeddings the files may still hold a head. As transformers does, sets
  // tie_word_embeddings to false and returns true if the head differs from the embedding, and uses
  // the head as the embedding if only the head is stored. Call it before CheckComplete.
  bool MatchHead(HeadCheck check, ModelConfig& config);

 private:
  struct Entry {
    const SafetensorsFile* file;
    const TensorInfo* info;
  };
  HfFolder() = default;
  absl::Status AddFile(std::unique_ptr<SafetensorsFile> file);
  // The name of the model for that of a file.
  std::string CurrentName(const std::string& name) const;

  std::string folder_;
  WeightNames names_;
  // Whether a weight of the decoder has an older name.
  bool has_older_names_ = false;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  absl::flat_hash_map<std::string, Entry> entries_;
};

// The layer of "model.layers.N.…" and "model.language_model.layers.N.…"; -1 for any other name.
int64_t LayerOf(std::string_view name);

// The first five of `names`, and how many more there are, for a message.
std::string ShortList(const std::vector<std::string>& names);

}  // namespace trainerd::engine
