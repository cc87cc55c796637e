// SPDX-License-Identifier: Apache-2.0
// The prompts of `samples.prompts`.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

struct SamplePrompt {
  nlohmann::ordered_json messages;  // up to the answer
  std::string question;             // the last user message
  std::string expected;             // "" = none given
};

// Reads a JSONL file of {"messages": […]} (up to the first assistant message, whose content is the
// expected answer) or {"prompt": …, "expected": …}. Conversations without a system message get
// `system_prompt`, unless it is "". Errors: NotFound; InvalidArgument with file:line and the
// expected format.
absl::StatusOr<std::vector<SamplePrompt>> ReadSamplePrompts(const std::string& path,
                                                            const std::string& system_prompt);

}  // namespace trainerd::engine
