// SPDX-License-Identifier: Apache-2.0
// `trainerd-worker init-model`: a Hugging Face folder with random weights, for tests and
// benchmarks.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace trainerd::engine {

struct InitModelOptions {
  std::string config_path;  // config.json of the architecture
  std::string output;       // must not exist, or be empty
  std::string tokenizer;  // folder whose tokenizer files are copied; "" = the folder of config_path
  uint64_t seed = 0;
  std::string dtype = "fp32";  // fp32 | bf16
};

// Writes the folder: config.json (with its dtype set), weights, and the tokenizer files that are
// there. Errors: those of ParseModelConfig; AlreadyExists for an output that holds something; those
// of the file system.
absl::Status InitModel(const InitModelOptions& options);

// Exit code: 0 done, 2 otherwise.
int RunInitModelCommand(const InitModelOptions& options);

}  // namespace trainerd::engine
