// SPDX-License-Identifier: Apache-2.0
// Runs another program of trainerd and collects what it prints.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::client {

struct ProcessResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string output;
  std::string errors;
};

// Runs `program` with `arguments` and waits for its end; its standard input is empty.
// Errors: NotFound when there is no such program; Unavailable when it cannot be started;
// ResourceExhausted when it prints more than 1 GiB.
absl::StatusOr<ProcessResult> RunProgram(const std::string& program,
                                         const std::vector<std::string>& arguments);

// A file that is removed when this goes.
class TemporaryFile {
 public:
  static absl::StatusOr<TemporaryFile> Create(const std::string& contents,
                                              const std::string& suffix);
  TemporaryFile(TemporaryFile&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile();
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace trainerd::client
