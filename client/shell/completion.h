// SPDX-License-Identifier: Apache-2.0
// Shell completion. The script of a shell completes the first word by itself, and calls the hidden
// command `trainctl __complete WORD…` for the others.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/shell/command_tree.h"

namespace trainerd::client {

// What may stand where the last word begins.
struct Completion {
  // With what each one means.
  std::vector<std::pair<std::string, std::string>> words;
  // Also names of files or folders; ids of jobs.
  bool files = false;
  bool jobs = false;
};

// `words`: those after `trainctl`; the last one, which can be empty, is being completed. Pure.
Completion Complete(const CommandTree& tree, std::vector<std::string> words);

// The value of `flag` among the words; "" if it is not there.
std::string ValueOf(const std::string& flag, const std::vector<std::string>& words);

// The script for bash, zsh or fish. Errors: InvalidArgument.
absl::StatusOr<std::string> CompletionScript(const CommandTree& tree, const std::string& shell);

}  // namespace trainerd::client
