// SPDX-License-Identifier: Apache-2.0
// `trainerd-worker sample`: a greedy answer of a model folder, or of an adapter and the model that
// its adapter_config.json names, on stdout.
#pragma once

#include <string>

namespace trainerd::engine {

struct SampleOptions {
  std::string model_folder;
  std::string prompt;
  std::string system;  // "" = no system message
  int max_tokens = 256;
  bool raw = false;  // continue the text itself, without the chat template
};

// Exit code: 0 done, 1 the model could not be read or run, 2 it has no chat template and `raw` was
// not given.
int RunSampleCommand(const SampleOptions& options);

}  // namespace trainerd::engine
