// SPDX-License-Identifier: Apache-2.0
// tests/golden/formats/gguf.json, which PyPI gguf made.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "tests/paths.h"

namespace trainerd::engine {

inline const nlohmann::json& GgufGolden() {
  static const nlohmann::json golden = [] {
    std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/formats/gguf.json");
    return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  }();
  return golden;
}

inline std::string FromHex(const nlohmann::json& text) {
  return absl::HexStringToBytes(text.get<std::string>());
}

}  // namespace trainerd::engine
