// SPDX-License-Identifier: Apache-2.0
// PrepareData with a tokenizer of single bytes and ChatML, so that every expectation can be counted
// by hand.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/prepare.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {

// Token ids of a text without control tokens: its bytes.
inline std::vector<int32_t> Bytes(std::string_view text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
  return ids;
}

inline std::vector<int32_t> Join(std::initializer_list<std::vector<int32_t>> parts) {
  std::vector<int32_t> joined;
  for (const auto& part : parts) joined.insert(joined.end(), part.begin(), part.end());
  return joined;
}

inline std::vector<int32_t> Ignored(size_t count) {
  return std::vector<int32_t>(count, kIgnoreIndex);
}

// `count` conversations whose answers have `length` to `length` + 6 bytes.
inline std::string Numbered(int count, int length = 5) {
  std::string rows;
  for (int i = 0; i < count; ++i) {
    rows += Row("q" + std::to_string(i), std::string(static_cast<size_t>(length + i % 7), 'a'));
  }
  return rows;
}

// PrepareData over files of a folder of its own.
class PrepareFixture : public ::testing::Test {
 protected:
  PrepareFixture() : model_(WriteByteTokenizer(folder_, "")) {}

  v1::JobConfig Config(const std::string& contents) {
    return BaseConfig(model_, folder_.Write("train.jsonl", contents));
  }
  absl::StatusOr<PreparedData> Prepare(const v1::JobConfig& config, PrepareOptions options = {}) {
    absl::StatusOr<TextPipeline> text = OpenTextPipeline(config);
    if (!text.ok()) return text.status();
    options.num_threads = options.num_threads == 0 ? 2 : options.num_threads;
    return PrepareData(config, *text, nullptr, options);
  }
  std::string Fault(const v1::JobConfig& config) {
    const auto data = Prepare(config);
    EXPECT_FALSE(data.ok());
    std::string message(data.status().message());
    // The folder's name is random.
    for (size_t at; (at = message.find(folder_.path() + "/")) != std::string::npos;) {
      message.erase(at, folder_.path().size() + 1);
    }
    return message;
  }
  static const v1::DataReport::Finding* Find(const PreparedData& data, const std::string& code) {
    for (const auto& finding : data.report.findings()) {
      if (finding.code() == code) return &finding;
    }
    return nullptr;
  }

  const TempDir folder_;
  const std::string model_;
};

}  // namespace trainerd::engine
