// SPDX-License-Identifier: Apache-2.0
// Compares a tokenizer with PyPI tokenizers on the texts of tests/golden/text/reference_ids.py.
#pragma once

#include <string>
#include <vector>

#include "engine/text/tokenizer/tokenizer.h"
#include "gtest/gtest.h"
#include "tests/engine/text/reference_python.h"

namespace trainerd::testing {

template <typename Number>
std::vector<Number> Numbers(const std::string& frame) {
  std::vector<Number> numbers(frame.size() / sizeof(Number));
  std::memcpy(numbers.data(), frame.data(), numbers.size() * sizeof(Number));
  return numbers;
}

// The offsets of an encoding in characters, as the reference gives them: begin, end, begin, end, …
inline std::vector<int32_t> OffsetsInCharacters(const std::string& text,
                                                const engine::Encoding& encoding) {
  std::vector<int32_t> character(text.size() + 1, 0);  // of each byte
  for (size_t i = 0; i < text.size(); ++i) {
    const bool ends = i + 1 == text.size() || (static_cast<uint8_t>(text[i + 1]) & 0xC0) != 0x80;
    character[i + 1] = character[i] + (ends ? 1 : 0);
  }
  std::vector<int32_t> offsets;
  for (size_t i = 0; i < encoding.size(); ++i) {
    offsets.push_back(character[encoding.begin[i]]);
    offsets.push_back(character[encoding.end[i]]);
  }
  return offsets;
}

inline std::string Streamed(const engine::Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  engine::DecodeStream stream(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    std::string earlier, own;
    stream.Append(id, &earlier, &own);
    text += earlier + own;
  }
  stream.Finish(&text);
  return text;
}

struct CompareOptions {
  int count = 0;
  int seed = 0;
  bool offsets = false;
  // Whether the reference's own stream is checked.
  bool stream = false;
};

inline void CompareWithReference(const std::string& folder, const CompareOptions& options) {
  const auto tokenizer = engine::Tokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  TempDir temp;
  const std::string path = temp.path() + "/frames";
  std::vector<std::string> arguments = {folder, std::to_string(options.count),
                                        std::to_string(options.seed), path};
  if (options.stream) arguments.push_back("stream");
  ASSERT_TRUE(RunReference("reference_ids.py", arguments));
  FrameReader frames(path);
  std::string text, raw_ids, raw_offsets, decoded;
  int compared = 0, different = 0;
  engine::Encoding encoding;
  while (frames.Next(&text) && frames.Next(&raw_ids) && frames.Next(&raw_offsets) &&
         frames.Next(&decoded)) {
    ++compared;
    ASSERT_TRUE((*tokenizer)->Encode(text, &encoding).ok());
    const std::vector<int32_t> ids = Numbers<int32_t>(raw_ids);
    const char* what =
        encoding.ids != ids                     ? "ids"
        : (*tokenizer)->Decode(ids) != decoded  ? "decoded text"
        : Streamed(**tokenizer, ids) != decoded ? "streamed text"
        : options.offsets && OffsetsInCharacters(text, encoding) != Numbers<int32_t>(raw_offsets)
            ? "offsets"
            : nullptr;
    if (what == nullptr || ++different > 5) continue;
    ADD_FAILURE() << folder << ": other " << what << " for: " << text.substr(0, 500);
  }
  EXPECT_GE(compared, options.count);
  EXPECT_EQ(different, 0);
}

}  // namespace trainerd::testing
