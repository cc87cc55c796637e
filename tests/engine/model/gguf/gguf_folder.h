// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders for exports: the models of tests/golden/formats/gguf_models.json with
// their weights, and a tokenizer of tests/golden/text/tokenizers.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/formats/safetensors.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/weight_spec.h"
#include "tests/paths.h"
#include "tests/temp_dir.h"

namespace trainerd::engine {

inline nlohmann::json GoldenFile(const std::string& path) {
  std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/" + path);
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

inline std::string BytesOfFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline uint32_t Hash32(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6BU;
  x ^= x >> 13;
  x *= 0xC2B2AE35U;
  return x ^ (x >> 16);
}

// make_goldens.py, weights(): exact in fp32.
inline std::vector<float> GoldenWeights(const std::string& name, int64_t count) {
  uint32_t key = 0;
  for (const unsigned char byte : name) key = key * 31 + byte;
  const bool is_norm = name.find("norm") != std::string::npos;
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const double unit =
        (static_cast<double>(Hash32(static_cast<uint32_t>(i) + key) >> 12) - 524288.0) / 1048576.0;
    values[i] = static_cast<float>(is_norm ? 1.0 + 0.5 * unit : 0.5 * unit);
  }
  return values;
}

inline void WriteGoldenWeights(const std::string& path, const nlohmann::json& config) {
  const auto parsed = ParseModelConfig(config.dump(), "config.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  std::vector<SafetensorsWriter::Declared> declared;
  std::vector<std::vector<float>> values;
  for (const WeightSpec& weight : WeightsOf(*parsed)) {
    declared.push_back({weight.name, StoredDtype::kFloat32, weight.shape});
    int64_t count = 1;
    for (const int64_t size : weight.shape) count *= size;
    values.push_back(GoldenWeights(weight.name, count));
  }
  auto writer = SafetensorsWriter::Create(path, declared);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const std::vector<float>& tensor : values)
    ASSERT_TRUE((*writer)->Append(tensor.data(), tensor.size() * sizeof(float)).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
}

// DIR/NAME with the model of `config`; its tokenizer is that of tokenizers/TOKENIZER, or one of
// three tokens where the embedding is smaller.
inline std::string WriteGoldenFolder(const TempDir& dir, const std::string& name,
                                     const nlohmann::json& config, const std::string& tokenizer) {
  const std::string folder = dir / name;
  std::filesystem::create_directories(folder);
  dir.Write(name + "/config.json", config.dump());
  WriteGoldenWeights(folder + "/model.safetensors", config);
  if (tokenizer.empty()) {
    dir.Write(name + "/tokenizer.json",
              R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
                  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
                  "decoder": {"type": "ByteLevel"}, "added_tokens": []})");
    return folder;
  }
  const std::string from = TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + tokenizer + "/";
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    dir.Write(name + "/" + file, BytesOfFile(from + file));
  return folder;
}

}  // namespace trainerd::engine
