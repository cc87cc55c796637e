// SPDX-License-Identifier: Apache-2.0
#include "engine/data/profiles/profile.h"

#include "absl/strings/str_cat.h"
#include "engine/data/profiles/emoji_think.h"
#include "engine/data/profiles/regime3.h"
#include "proto/base/enum_sentinels.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

class NoProfile : public Profile {
 public:
  void Transform(int64_t, const std::string& system_prompt, ordered_json* messages) const override {
    InsertSystemPrompt(system_prompt, messages);
  }
};

ordered_json SystemMessage(const std::string& text) {
  ordered_json message = ordered_json::object();
  message["role"] = "system";
  message["content"] = text;
  return message;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Profile>> MakeProfile(v1::DataConfig::Profile profile) {
  switch (profile) {
    case v1::DataConfig::PROFILE_NONE:
      return std::make_unique<NoProfile>();
    case v1::DataConfig::PROFILE_EMOJI_THINK:
      return std::make_unique<EmojiThinkProfile>();
    case v1::DataConfig::PROFILE_REGIME3:
      return std::make_unique<Regime3Profile>();
    case v1::DataConfig::PROFILE_UNSPECIFIED:
    case kMinSentinel<v1::DataConfig::Profile>:
    case kMaxSentinel<v1::DataConfig::Profile>:
      break;
  }
  return absl::InternalError(absl::StrCat("data.profile has the value ", static_cast<int>(profile),
                                          ", which this version does not know"));
}

void InsertSystemPrompt(const std::string& system_prompt, ordered_json* messages) {
  if (system_prompt.empty()) return;
  for (const ordered_json& message : *messages) {
    if (message["role"] == "system") return;
  }
  messages->insert(messages->begin(), SystemMessage(system_prompt));
}

void SetSystemPrompt(const std::string& system_prompt, ordered_json* messages) {
  if (system_prompt.empty()) return;
  if (!messages->empty() && messages->front()["role"] == "system") {
    messages->front()["content"] = system_prompt;
  } else {
    messages->insert(messages->begin(), SystemMessage(system_prompt));
  }
}

std::string ContentText(const ordered_json& message) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) return "";
  if (content->is_string()) return content->get<std::string>();
  return content->dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace trainerd::engine
