// SPDX-License-Identifier: Apache-2.0
// A model folder for tests without LibTorch: a Llama of two layers with weights of one value, and
// the tokenizer of single bytes (ids 0 to 258).
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/formats/safetensors.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/weight_spec.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/data/test_data.h"
#include "tests/temp_dir.h"

namespace trainerd::engine {

inline nlohmann::json TinyConfig() {
  return {{"model_type", "llama"},    {"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 259},        {"hidden_size", 8},
          {"intermediate_size", 16},  {"num_hidden_layers", 2},
          {"num_attention_heads", 2}, {"num_key_value_heads", 1},
          {"hidden_act", "silu"},     {"max_position_embeddings", 512},
          {"eos_token_id", 258},      {"tie_word_embeddings", true}};
}

struct StoredTensor {
  std::string name;
  std::vector<int64_t> shape;
  float value = 0.5F;
};

inline std::vector<StoredTensor> TensorsOf(const nlohmann::json& config) {
  std::vector<StoredTensor> tensors;
  const auto parsed = ParseModelConfig(config.dump(), "config.json");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  for (const WeightSpec& spec : WeightsOf(*parsed)) tensors.push_back({spec.name, spec.shape});
  return tensors;
}

inline void WriteTensors(const std::string& path, const std::vector<StoredTensor>& tensors) {
  std::vector<SafetensorsWriter::Declared> declared;
  for (const StoredTensor& tensor : tensors)
    declared.push_back({tensor.name, StoredDtype::kFloat32, tensor.shape});
  std::filesystem::remove(path);
  auto writer = SafetensorsWriter::Create(path, declared);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const StoredTensor& tensor : tensors) {
    int64_t count = 1;
    for (const int64_t size : tensor.shape) count *= size;
    const std::vector<float> values(static_cast<size_t>(count), tensor.value);
    ASSERT_TRUE((*writer)->Append(values.data(), values.size() * sizeof(float)).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

// FOLDER/model with everything that a job needs; `change` edits config.json before the weights that
// belong to it are written. Returns its path.
inline std::string WriteTinyFolder(const TempDir& folder, const std::string& template_source,
                                   const std::function<void(nlohmann::json&)>& change = {}) {
  const std::string path = WriteByteTokenizer(folder, template_source);
  nlohmann::json config = TinyConfig();
  if (change) change(config);
  folder.Write("model/config.json", config.dump());
  WriteTensors(path + "/model.safetensors", TensorsOf(config));
  return path;
}

}  // namespace trainerd::engine
