// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders for exports: the models of tests/golden/formats/gguf_models.json, and a
// tokenizer of tests/golden/text/tokenizers.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/engine/model/golden_folder.h"
#include "tests/paths.h"
#include "tests/temp_dir.h"

namespace trainerd::engine {

inline std::string BytesOfFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The models of gguf_models.json: names and "config", "vision" (the tensors of the vision part),
// "architecture", and "tensors" of the exported file.
inline const nlohmann::json& GgufModels() {
  static const nlohmann::json golden = golden::File("formats/gguf_models")["models"];
  return golden;
}

inline std::vector<std::string> GgufModelNames() {
  std::vector<std::string> names;
  for (const auto& [name, model] : GgufModels().items()) names.push_back(name);
  return names;
}

// DIR/NAME with the model of `golden`; its tokenizer is that of tokenizers/TOKENIZER, or one of
// three tokens where the embedding is smaller.
inline std::string WriteGoldenFolder(const TempDir& dir, const std::string& name,
                                     const nlohmann::json& golden, const std::string& tokenizer) {
  const std::string folder = dir / name;
  std::filesystem::create_directories(folder);
  golden::WriteFolder(golden, folder);
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
