// SPDX-License-Identifier: Apache-2.0
// The commands of trainerd-inspect over small files, through a stream in memory. The tokens of the
// tokenizer are single bytes.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "engine/cli/inspect/commands.h"
#include "tests/engine/model/folder/tiny_folder.h"

namespace trainerd::engine {

struct Result {
  absl::Status status;
  std::string text;
  std::vector<nlohmann::json> lines() const {
    std::vector<nlohmann::json> documents;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
      documents.push_back(nlohmann::json::parse(line));
    return documents;
  }
};

inline Result Output(const std::function<absl::Status(std::FILE*)>& command) {
  char* data = nullptr;
  size_t size = 0;
  std::FILE* out = open_memstream(&data, &size);
  Result result;
  result.status = command(out);
  std::fclose(out);
  result.text.assign(data, size);
  std::free(data);
  return result;
}

class InspectTest : public ::testing::Test {
 protected:
  InspectTest() { WriteTinyFolder(folder_, ""); }

  std::string Job(const std::string& rows, const std::string& more = "") {
    folder_.Write("train.jsonl", rows);
    return folder_.Write(
        "job.yaml",
        "model: {path: model}\ndata:\n  train: [train.jsonl]\n  chat_template: chatml\n"
        "  max_length: 64\n" +
            more);
  }
  static nlohmann::json Validate(const ValidateOptions& options, bool is_clean = false) {
    const Result result = Output([&](std::FILE* out) {
      const auto clean = RunValidate(options, out);
      EXPECT_TRUE(clean.ok() && *clean == is_clean);
      return clean.status();
    });
    return nlohmann::json::parse(result.text);
  }
  const TempDir folder_;
};

}  // namespace trainerd::engine
