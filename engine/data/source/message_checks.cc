// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/message_checks.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/data/source/source_format.h"
#include "engine/data/source/tool_forms.h"
#include "engine/formats/json.h"
#include "proto/contract/config/advice/nearest_word.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

RecordError Fault(std::string code, std::string message) {
  return {.code = std::move(code), .message = std::move(message)};
}

constexpr std::array<const char*, 4> kRoles = {"system", "user", "assistant", "tool"};

// Keys that say that a part is more than text.
constexpr std::array<const char*, 6> kMediaKeys = {"image",       "image_url", "audio",
                                                   "input_audio", "video",     "video_url"};

// Makes a part, {"type": "text", "text": …} or plain text, one with both keys.
std::optional<RecordError> CheckPart(const std::string& where, ordered_json* part) {
  if (part->is_string()) *part = {{"type", "text"}, {"text", std::move(*part)}};
  if (!part->is_object()) {
    return Fault("BAD_SCHEMA", absl::StrCat(where, " is ", ShownJson(*part),
                                            "; a part is {\"type\": \"text\", \"text\": …}"));
  }
  EraseNulls(part);
  const ordered_json type = part->value("type", ordered_json("text"));
  if (type != "text" && type != "input_text" && type != "output_text") {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, " has type ", ShownJson(type),
                              "; only text parts can be trained, so remove it or the record"));
  }
  for (const char* key : kMediaKeys) {
    if (!part->contains(key)) continue;
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, " has \"", key,
                              "\"; only text parts can be trained, so remove it or the record"));
  }
  const auto text = part->find("text");
  if (text == part->end() || !text->is_string()) {
    return Fault("BAD_SCHEMA", absl::StrCat(where, " has no \"text\" that is a string"));
  }
  (*part)["type"] = "text";
  return std::nullopt;
}

std::optional<RecordError> CheckParts(const std::string& where, ordered_json* content) {
  for (size_t i = 0; i < content->size(); ++i) {
    auto fault = CheckPart(absl::StrCat(where, ".content[", i, "]"), &(*content)[i]);
    if (fault) return fault;
  }
  return std::nullopt;
}

// The usual role of which `name` is a misspelling; "" if it is none. Which other roles there are is
// up to the template: developer, model, ipython, user_2 …
std::string MeantRole(const std::string& name) {
  if (std::find(kRoles.begin(), kRoles.end(), name) != kRoles.end()) return "";
  const bool is_word = std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalpha(static_cast<unsigned char>(c));
  });
  if (!is_word || name == "tools") return "";
  return NearestWord(name, {kRoles.begin(), kRoles.end()});
}

std::optional<RecordError> CheckRole(const std::string& where, const ordered_json& message) {
  const auto role = message.find("role");
  if (role == message.end()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, " has no \"role\"; it has the keys ", ShownKeys(message)));
  }
  if (!role->is_string()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, ".role is ", ShownJson(*role), "; it must be text"));
  }
  const std::string& name = role->get_ref<const std::string&>();
  if (name.empty()) return Fault("BAD_SCHEMA", absl::StrCat(where, ".role is empty"));
  const std::string meant = MeantRole(name);
  if (meant.empty()) return std::nullopt;
  return Fault("UNKNOWN_ROLE",
               absl::StrCat("unknown role ", ShownJson(*role), " in ", where, "; did you mean \"",
                            meant, "\"? Roles are system, user, assistant and tool"));
}

// Whether the message says something without "content".
bool HasOtherContent(const ordered_json& message) {
  const auto calls = message.find("tool_calls");
  if (calls != message.end() && !calls->empty()) return true;
  if (message["role"] != "assistant") return false;
  for (const char* key : {"reasoning_content", "thinking", "reasoning"}) {
    if (message.contains(key)) return true;
  }
  return false;
}

// *have_calls becomes true if the message has calls.
std::optional<RecordError> CheckCalls(const std::string& where, const ordered_json& message,
                                      bool* have_calls) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end()) return std::nullopt;
  *have_calls = true;
  if (calls->is_array()) return std::nullopt;
  return Fault("BAD_SCHEMA",
               absl::StrCat(where, ".tool_calls is ", ShownJson(*calls), "; it must be a list"));
}

std::optional<RecordError> CheckContent(const std::string& where, ordered_json* message) {
  const auto content = message->find("content");
  if (content == message->end()) {
    if (HasOtherContent(*message)) return std::nullopt;
    if ((*message)["role"] == "assistant") {
      (*message)["content"] = "";
      return std::nullopt;
    }
    return Fault("BAD_SCHEMA", absl::StrCat(where,
                                            " has no \"content\"; only an assistant message "
                                            "with tool_calls may omit it"));
  }
  if (content->is_string()) return std::nullopt;
  if (content->is_array()) return CheckParts(where, &*content);
  return Fault("BAD_SCHEMA", absl::StrCat(where, ".content is ", ShownJson(*content),
                                          "; it must be text or a list of text parts"));
}

std::optional<RecordError> CheckSwitches(const std::string& where, const ordered_json& message) {
  const auto weight = message.find("weight");
  // Not <: a NaN is no weight.
  if (weight != message.end() && !(weight->is_number() && weight->get<double>() >= 0 &&
                                   weight->get<double>() <= kMaxMessageWeight)) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, ".weight is ", ShownJson(*weight),
                              "; it is a number from 0 (not trained) to ", kMaxMessageWeight));
  }
  const auto train = message.find("train");
  if (train != message.end() && !train->is_boolean()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, ".train is ", ShownJson(*train), "; it is true or false"));
  }
  return std::nullopt;
}

}  // namespace

void EraseNulls(ordered_json* object) {
  for (auto item = object->begin(); item != object->end();) {
    item = item->is_null() ? object->erase(item) : std::next(item);
  }
}

std::optional<RecordError> CheckMessages(const char* key, ordered_json* messages,
                                         bool* have_calls) {
  if (!messages->is_array()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"", key, "\" is ", ShownJson(*messages),
                                            "; it must be a list of "
                                            "{\"role\": …, \"content\": …}"));
  }
  if (messages->empty())
    return Fault("NO_MESSAGES", absl::StrCat("\"", key, "\" is an empty list"));
  for (size_t i = 0; i < messages->size(); ++i) {
    const std::string where = absl::StrCat(key, "[", i, "]");
    ordered_json& message = (*messages)[i];
    if (!message.is_object()) {
      return Fault("BAD_SCHEMA", absl::StrCat(where, " is ", ShownJson(message),
                                              "; it must be {\"role\": …, \"content\": …}"));
    }
    EraseNulls(&message);
    if (auto fault = CheckRole(where, message)) return fault;
    if (auto fault = ConvertFunctionCall(where, &message)) return fault;
    if (auto fault = CheckCalls(where, message, have_calls)) return fault;
    if (auto fault = CheckContent(where, &message)) return fault;
    if (auto fault = CheckSwitches(where, message)) return fault;
  }
  return std::nullopt;
}

}  // namespace trainerd::engine
