// SPDX-License-Identifier: Apache-2.0
// What a chat template makes of the messages of one role. Found by rendering probes, never by the
// template's name or text.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/text/chat_template.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

struct RoleTraits {
  // Some branch prints the content of a message of this role.
  bool printed = false;
  // The template raises an error for each conversation with this role. Its own message is the best
  // explanation, so such a role does not count as one that no branch prints.
  bool refused = false;
  // The content is printed if it is text; if it is a list of text parts, exactly their texts; if it
  // is a list of one part (content[0].text), where neither holds.
  bool takes_text = true;
  bool takes_list = false;
  bool takes_one_part = false;
  // A message of this role is rendered like one of the assistant, byte for byte.
  bool answers = false;
  // The role under which messages reach the template: "system" for developer where the template
  // prints system messages, but no developer messages, at the beginning. "" = their own.
  std::string rendered_as;

  // A list of text parts reaches the template as it is, not joined. Text, or the joined text,
  // reaches it as a list of one part (templates of vision models that only read parts).
  bool keeps_list() const { return takes_list; }
  bool wraps_text() const { return takes_one_part || (takes_list && !takes_text); }
};

// Renders messages as they are.
using RenderProbe =
    std::function<absl::StatusOr<RenderedConversation>(const nlohmann::ordered_json& messages)>;

// Cost: 2 to about 40 renderings of short conversations.
RoleTraits ProbeRole(const std::string& role, const RenderProbe& render);

}  // namespace trainerd::engine
