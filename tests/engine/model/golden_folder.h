// SPDX-License-Identifier: Apache-2.0
// The tiny models of tests/golden/model: the same exact weights as make_goldens.py, written as a
// Hugging Face folder. No LibTorch.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/formats/safetensors.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/weight_spec.h"
#include "tests/paths.h"

namespace trainerd::engine::golden {

// tests/golden/PATH.json, as in "optim/adamw".
inline nlohmann::json File(const std::string& path) {
  std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/" + path + ".json");
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

// The golden of a tiny model.
inline nlohmann::json Read(const std::string& name) { return File("model/" + name); }

inline uint32_t Hash32(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6BU;
  x ^= x >> 13;
  x *= 0xC2B2AE35U;
  return x ^ (x >> 16);
}

// make_goldens.py, weights().
inline std::vector<float> Weights(const std::string& name, int64_t count) {
  uint32_t key = 0;
  for (unsigned char byte : name) key = key * 31 + byte;
  const bool is_norm = name.find("norm") != std::string::npos,
             is_router = name.find(".mlp.gate.") != std::string::npos;
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const double unit =
        (static_cast<double>(Hash32(static_cast<uint32_t>(i) + key) >> 12) - 524288.0) / 1048576.0;
    values[i] = static_cast<float>(is_norm ? 1.0 + 0.5 * unit : (is_router ? 2.0 : 0.5) * unit);
  }
  return values;
}

inline int64_t Count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t dimension : shape) count *= dimension;
  return count;
}

inline ModelConfig Config(const nlohmann::json& golden) {
  absl::StatusOr<ModelConfig> config = ParseModelConfig(golden["config"].dump(), "golden");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig{};
}

// The names of all models, sorted.
inline std::vector<std::string> ModelNames() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(TRAINERD_SOURCE_DIR + "/tests/golden/model")) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".json") continue;
    const nlohmann::json golden = Read(name);
    if (golden.is_object() && golden.contains("config")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

// All tensors of the model in fp32, also those of its vision part.
inline std::vector<SafetensorsWriter::Declared> Tensors(const nlohmann::json& golden) {
  std::vector<SafetensorsWriter::Declared> tensors;
  for (const WeightSpec& spec : WeightsOf(Config(golden)))
    tensors.push_back({spec.name, StoredDtype::kFloat32, spec.shape});
  if (!golden.contains("vision")) return tensors;
  for (const auto& [name, shape] : golden["vision"].items())
    tensors.push_back({name, StoredDtype::kFloat32, shape.get<std::vector<int64_t>>()});
  return tensors;
}

// `tensors` with the values of Weights; `rename` makes their names in the file.
template <typename Rename>
void WriteTensors(const std::vector<SafetensorsWriter::Declared>& tensors, const std::string& path,
                  const Rename& rename) {
  std::vector<SafetensorsWriter::Declared> declared = tensors;
  for (SafetensorsWriter::Declared& tensor : declared) tensor.name = rename(tensor.name);
  auto writer = SafetensorsWriter::Create(path, declared);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const SafetensorsWriter::Declared& tensor : tensors) {
    const std::vector<float> values = Weights(tensor.name, Count(tensor.shape));
    ASSERT_TRUE((*writer)->Append(values.data(), values.size() * sizeof(float)).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

// config.json and model.safetensors.
inline void WriteFolder(const nlohmann::json& golden, const std::string& folder) {
  WriteFile(folder + "/config.json", golden["config"].dump());
  WriteTensors(Tensors(golden), folder + "/model.safetensors",
               [](const std::string& name) { return name; });
}

}  // namespace trainerd::engine::golden
