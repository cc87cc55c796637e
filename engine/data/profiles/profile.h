// SPDX-License-Identifier: Apache-2.0
// What a job's `data.profile` does to each conversation before the chat template is rendered. Pure
// functions of (conversation, index, system prompt): applying one twice gives the same as once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Thread-safety: const, may be used from many threads at once.
class Profile {
 public:
  virtual ~Profile() = default;
  // Changes `messages` (checked by ConversationParser) in place. `index` is the record's 0-based
  // position in its set: random choices depend on it. An empty `system_prompt` adds and
  // changes no system message.
  virtual void Transform(int64_t index, const std::string& system_prompt,
                         nlohmann::ordered_json* messages) const = 0;
};

// Errors: Internal for an unspecified or unknown value.
absl::StatusOr<std::unique_ptr<Profile>> MakeProfile(v1::DataConfig::Profile profile);

// Puts a system message in front of a conversation that has none (no role "system" anywhere).
void InsertSystemPrompt(const std::string& system_prompt, nlohmann::ordered_json* messages);
// Inserts the system message, or overwrites the text of the one that the conversation begins with.
void SetSystemPrompt(const std::string& system_prompt, nlohmann::ordered_json* messages);

// The message's content as text: a string as it is, null as "", anything else as JSON.
std::string ContentText(const nlohmann::ordered_json& message);

}  // namespace trainerd::engine
