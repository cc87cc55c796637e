// SPDX-License-Identifier: Apache-2.0
// The commands of trainerd-inspect. Each writes its documents to `out` and returns an error for
// what the user can cure; the data report is printed even when it holds errors.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd::engine {

struct ValidateOptions {
  std::string job_file;
  bool quick = false;                   // beginnings and ends of the files only, no tokenizer
  std::string cache_folder = "";        // of token rows (data/token_cache.h); "" = none
  std::string scratch_folder = "/tmp";  // for token rows that no cache takes
  std::string home_dir = "";            // JobFileOptions::home_dir
  std::string runs_dir = "";            // where the daemon keeps run directories; "" = unknown
};
// Prints the DataReport as one JSON document. true: it holds no errors.
absl::StatusOr<bool> RunValidate(const ValidateOptions& options, std::FILE* out);

struct PreviewOptions {
  std::string job_file;
  int64_t limit = 10;   // examples, or packed rows
  bool packed = false;  // rows in the training order of the first epoch
  bool json = true;     // false: rendered text with the trained part marked, for a terminal
  std::string cache_folder = "";  // as in ValidateOptions
  std::string scratch_folder = "/tmp";
  std::string home_dir = "";
};
absl::Status RunPreview(const PreviewOptions& options, std::FILE* out);

struct TokenizeOptions {
  std::string tokenizer_folder;
  std::string input_file;
  bool decode = false;
};
absl::Status RunTokenize(const TokenizeOptions& options, std::FILE* out);

struct ImportOptions {
  std::string gguf_file;
  // Folder to create.
  std::string output;
};
// Writes a GGUF file as a Hugging Face folder and prints what it wrote as one line.
absl::Status RunImport(const ImportOptions& options, std::FILE* out);

}  // namespace trainerd::engine
