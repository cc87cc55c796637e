// SPDX-License-Identifier: Apache-2.0
#include "engine/data/profiles/regime3.h"

#include "engine/data/profiles/python_text.h"

namespace trainerd::engine {
namespace {

constexpr char kStart[] = "<<ANS_START>>";
constexpr char kEnd[] = "<<ANS_END>>";

}  // namespace

void Regime3Profile::Transform(int64_t, const std::string& system_prompt,
                               nlohmann::ordered_json* messages) const {
  SetSystemPrompt(system_prompt, messages);
  for (nlohmann::ordered_json& message : *messages) {
    if (message["role"] != "assistant") continue;
    const std::string text = ContentText(message);
    const bool has_start = text.find(kStart) != std::string::npos;
    const bool has_end = text.find(kEnd) != std::string::npos;
    if (!has_start && !has_end) {
      message["content"] = std::string(kStart) + " " + std::string(PythonStrip(text)) + " " + kEnd;
    } else if (!has_end) {
      message["content"] = text + " " + kEnd;
    } else if (!has_start) {
      message["content"] = std::string(kStart) + " " + text;
    }
  }
}

}  // namespace trainerd::engine
