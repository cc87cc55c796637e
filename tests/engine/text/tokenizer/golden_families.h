// SPDX-License-Identifier: Apache-2.0
// The tokenizers of tests/golden/text/tokenizers, one folder for each family.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer/tokenizer.h"
#include "gtest/gtest.h"
#include "tests/paths.h"

namespace trainerd::engine {

inline std::string Folder(const std::string& family) {
  return TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + family;
}

inline std::unique_ptr<Tokenizer> LoadFamily(const std::string& family) {
  auto tokenizer = Tokenizer::Load(Folder(family));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

inline std::vector<int32_t> Ids(const Tokenizer& tokenizer, std::string_view text,
                                bool add_special_tokens = false) {
  Encoding encoding;
  EXPECT_TRUE(tokenizer.Encode(text, &encoding, add_special_tokens).ok());
  return encoding.ids;
}

}  // namespace trainerd::engine
