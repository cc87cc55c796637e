// SPDX-License-Identifier: Apache-2.0
// Prompts of `samples.prompts` and the greedy answers that a job shows to them while it trains.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/train/sample_generator.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

struct AttemptContext;

// Reads a JSONL file of {"messages": […]} (answered up to the first assistant turn, whose content
// is what is expected) or {"prompt": …, "expected": …}. `system_prompt` is put in front of
// conversations that have none; "" = nothing is. Errors: NotFound; InvalidArgument with file:line
// and what is expected there.
absl::StatusOr<std::vector<SamplePrompt>> ReadSamplePrompts(const std::string& path,
                                                            const std::string& system_prompt);

// Answers every prompt and emits one SampleText each. Errors: Cancelled when a pause or a stop is
// wanted (the answers so far are out).
absl::Status EmitSamples(AttemptContext& context);

}  // namespace trainerd::engine
