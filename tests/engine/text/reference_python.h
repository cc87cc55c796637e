// SPDX-License-Identifier: Apache-2.0
// Runs a script of tests/golden/text in the virtual environment of the reference packages
// (tests/requirements.txt), for tests that compare with them at length. Where that environment is
// missing the test skips and says so.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/temp_dir.h"

namespace trainerd::testing {

// The interpreter of the environment, or "".
inline std::string ReferencePython() {
  const char* cache = std::getenv("TRAINERD_CACHE");
  const char* home = std::getenv("HOME");
  const std::string root =
      cache != nullptr ? cache : std::string(home != nullptr ? home : "") + "/.cache/trainerd";
  const std::string python = root + "/venv-tests/bin/python";
  return std::filesystem::exists(python) ? python : "";
}

// Runs tests/golden/text/SCRIPT with `arguments`. False if it failed, with its messages on stderr.
inline bool RunReference(const std::string& script, const std::vector<std::string>& arguments) {
  std::string command = "PYTHONDONTWRITEBYTECODE=1 '" + ReferencePython() + "' '" +
                        TRAINERD_SOURCE_DIR + "/tests/golden/text/" + script + "'";
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  return std::system(command.c_str()) == 0;
}

inline std::string ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// The frames [u32 size][bytes] of a file that a reference script wrote.
class FrameReader {
 public:
  explicit FrameReader(const std::string& path) : data_(ReadText(path)) {}
  bool Next(std::string* frame) {
    uint32_t size = 0;
    if (at_ + 4 > data_.size()) return false;
    std::memcpy(&size, data_.data() + at_, 4);
    frame->assign(data_, at_ + 4, size);
    at_ += 4 + size;
    return true;
  }

 private:
  std::string data_;
  size_t at_ = 0;
};

}  // namespace trainerd::testing
