// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/preference_pair.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/source/message_checks.h"
#include "engine/data/source/source_format.h"
#include "engine/formats/json.h"
#include "engine/text/template_messages.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

RecordError BadSchema(std::string message) {
  return {.code = "BAD_SCHEMA", .message = std::move(message)};
}

// The record does not have both answers.
RecordError NotAPair(const ordered_json& row) {
  if (const std::optional<SourceFormat> format = DetectFormat(row)) {
    return {.code = "NOT_A_PAIR",
            .message = absl::StrCat(
                "the record has the form ", FormatName(*format),
                "; a job with preference trains on {\"prompt\", \"chosen\", \"rejected\"}: take "
                "preference out of the job file, or the record out of the data"),
            .fatal = true};
  }
  return {.code = "NOT_A_PAIR",
          .message =
              absl::StrCat("the record has no \"", row.contains("chosen") ? "rejected" : "chosen",
                           "\"; it has the keys ", ShownKeys(row),
                           "; a preference record is {\"prompt\", \"chosen\", "
                           "\"rejected\"}")};
}

std::optional<RecordError> CheckType(const char* key, const ordered_json& value) {
  if (value.is_string()) return std::nullopt;
  if (!value.is_array()) {
    return BadSchema(absl::StrCat("\"", key, "\" is ", ShownJson(value),
                                  "; it must be text or a list of messages"));
  }
  if (!value.empty()) return std::nullopt;
  return BadSchema(absl::StrCat(
      "\"", key, "\" is an empty list; it must hold ",
      std::string_view(key) == "prompt" ? "the messages before the answer" : "the answer"));
}

bool IsSameMessage(const ordered_json& a, const ordered_json& b) {
  // The order of keys does not matter.
  return a == b || nlohmann::json(a) == nlohmann::json(b);
}

size_t CountSharedMessages(const ordered_json& a, const ordered_json& b) {
  size_t shared = 0;
  while (shared < std::min(a.size(), b.size()) && IsSameMessage(a[shared], b[shared])) ++shared;
  return shared;
}

// The bytes that both begin with, in whole characters.
size_t CountSharedBytes(const std::string& a, const std::string& b) {
  const size_t size = std::min(a.size(), b.size());
  size_t shared = 0;
  while (shared < size && a[shared] == b[shared]) ++shared;
  const auto is_inside = [](const std::string& text, size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  while (shared > 0 && (is_inside(a, shared) || is_inside(b, shared))) --shared;
  return shared;
}

// As TRL's extract_prompt: up to the first character that differs, without a space before it. Where
// one text is the beginning of the other, its last character is left to the answer.
size_t FindTextPrompt(const std::string& chosen, const std::string& rejected) {
  size_t shared = CountSharedBytes(chosen, rejected);
  if (shared == std::min(chosen.size(), rejected.size())) {
    const std::string& whole = chosen.size() <= rejected.size() ? chosen : rejected;
    while (shared > 0 && (static_cast<unsigned char>(whole[--shared]) & 0xc0) == 0x80) {
    }
    return shared;
  }
  return shared > 0 && chosen[shared - 1] == ' ' ? shared - 1 : shared;
}

RecordError NothingShared(const char* what) {
  return BadSchema(
      absl::StrCat("the record has no \"prompt\", and \"chosen\" and \"rejected\" begin with "
                   "different ",
                   what, "; give what both answer as \"prompt\""));
}

// A value of the record, which may be absent.
using Value = std::optional<ordered_json>;

std::optional<RecordError> ReadTexts(const Value& prompt, const ordered_json& chosen_value,
                                     const ordered_json& rejected_value,
                                     Conversation* conversation) {
  RejectedAnswer& pair = conversation->pair.emplace();
  const std::string& chosen = chosen_value.get_ref<const std::string&>();
  const std::string& rejected = rejected_value.get_ref<const std::string&>();
  if (prompt.has_value()) {
    const std::string& text = prompt->get_ref<const std::string&>();
    conversation->text = text + chosen;
    pair.text = text + rejected;
    pair.prompt_size = text.size();
    return std::nullopt;
  }
  pair.implicit_prompt = true;
  pair.prompt_size = FindTextPrompt(chosen, rejected);
  if (pair.prompt_size == 0) return NothingShared("text");
  conversation->text = chosen;
  pair.text = rejected;
  return std::nullopt;
}

// The prompt out of two conversations that begin with the same messages. At least one message is
// left to each answer.
std::optional<RecordError> SplitConversations(const Value& text, ordered_json* prompt,
                                              ordered_json* chosen, ordered_json* rejected) {
  const size_t shared = std::min(CountSharedMessages(*chosen, *rejected),
                                 std::min(chosen->size(), rejected->size()) - 1);
  const auto is_answer = [](const ordered_json& messages) {
    return messages.front()["role"] != "user" && messages.front()["role"] != "system";
  };
  if (shared == 0 && text.has_value() && is_answer(*chosen) && is_answer(*rejected)) {
    prompt->push_back(MakeMessage("user", *text));
    return std::nullopt;
  }
  if (shared == 0) return NothingShared("messages");
  bool found = !text.has_value();
  for (size_t i = 0; i < shared; ++i) {
    const auto content = (*chosen)[i].find("content");
    found |= content != (*chosen)[i].end() &&
             (*content == *text || JoinedParts(*content).value_or("") == *text);
    prompt->push_back((*chosen)[i]);
  }
  if (!found) {
    return BadSchema(
        absl::StrCat("\"prompt\" is ", ShownJson(*text),
                     ", which is none of the messages that \"chosen\" and \"rejected\" "
                     "begin with; remove it, or correct it"));
  }
  for (ordered_json* answer : {chosen, rejected}) {
    answer->erase(answer->begin(), answer->begin() + static_cast<std::ptrdiff_t>(shared));
  }
  return std::nullopt;
}

// `name` is the key, `begin` the number of its first message.
std::optional<RecordError> CheckAnswer(const char* name, size_t begin, const ordered_json& answer) {
  for (size_t i = 0; i < answer.size(); ++i) {
    for (const char* key : {"weight", "train"}) {
      const auto found = answer[i].find(key);
      if (found == answer[i].end() || *found == 1 || *found == true) continue;
      return BadSchema(absl::StrCat(name, "[", begin + i, "].", key, " is ", ShownJson(*found),
                                    "; with preference an answer counts as a whole: remove it"));
    }
  }
  return std::nullopt;
}

// Whether `answer` begins with all messages of the prompt and has more.
bool RepeatsPrompt(const ordered_json& prompt, const ordered_json& answer) {
  return answer.size() > prompt.size() && CountSharedMessages(prompt, answer) == prompt.size();
}

std::optional<RecordError> ReadMessages(Value prompt_value, ordered_json chosen,
                                        ordered_json rejected, Conversation* conversation,
                                        bool* have_calls) {
  for (ordered_json* answer : {&chosen, &rejected}) {
    if (!answer->is_string()) continue;
    ordered_json message = MakeMessage("assistant", std::move(*answer));
    *answer = ordered_json::array({std::move(message)});
  }
  if (auto fault = CheckMessages("chosen", &chosen, have_calls)) return fault;
  if (auto fault = CheckMessages("rejected", &rejected, have_calls)) return fault;
  RejectedAnswer& pair = conversation->pair.emplace();
  ordered_json prompt = ordered_json::array();
  if (prompt_value.has_value() && prompt_value->is_array()) {
    prompt = *std::move(prompt_value);
    if (auto fault = CheckMessages("prompt", &prompt, have_calls)) return fault;
    if (RepeatsPrompt(prompt, chosen) && RepeatsPrompt(prompt, rejected)) {
      return BadSchema(
          "\"chosen\" and \"rejected\" begin with the messages of \"prompt\", which would be "
          "doubled; remove \"prompt\", or those messages");
    }
  } else {
    const size_t before = chosen.size();
    if (auto fault = SplitConversations(prompt_value, &prompt, &chosen, &rejected)) return fault;
    pair.implicit_prompt = chosen.size() < before;
  }
  const size_t begin = pair.implicit_prompt ? prompt.size() : 0;
  if (auto fault = CheckAnswer("chosen", begin, chosen)) return fault;
  if (auto fault = CheckAnswer("rejected", begin, rejected)) return fault;
  for (ordered_json& message : prompt) {
    if (message["role"] == "assistant") message["train"] = false;
  }
  pair.prompt_size = prompt.size();
  pair.messages = prompt;
  for (ordered_json& message : rejected) pair.messages.push_back(std::move(message));
  conversation->messages = std::move(prompt);
  for (ordered_json& message : chosen) conversation->messages.push_back(std::move(message));
  return std::nullopt;
}

// The key "system", in front of both conversations.
std::optional<RecordError> AddSystemToBoth(ordered_json* row, Conversation* conversation) {
  const size_t before = conversation->messages.size();
  if (auto fault = AddSystem(row, &conversation->messages)) return fault;
  RepeatAddedMessage(before, conversation);
  return std::nullopt;
}

}  // namespace

std::optional<RecordError> TakePair(ordered_json* row, Conversation* conversation,
                                    bool* have_calls) {
  if (!HasTwoAnswers(*row)) return NotAPair(*row);
  Value prompt = TakeKey(row, "prompt");
  ordered_json chosen = *TakeKey(row, "chosen"), rejected = *TakeKey(row, "rejected");
  if (prompt.has_value()) {
    if (auto fault = CheckType("prompt", *prompt)) return fault;
  }
  if (auto fault = CheckType("chosen", chosen)) return fault;
  if (auto fault = CheckType("rejected", rejected)) return fault;
  if ((!prompt.has_value() || prompt->is_string()) && chosen.is_string() && rejected.is_string()) {
    return ReadTexts(prompt, chosen, rejected, conversation);
  }
  if (auto fault = ReadMessages(std::move(prompt), std::move(chosen), std::move(rejected),
                                conversation, have_calls)) {
    return fault;
  }
  return AddSystemToBoth(row, conversation);
}

void RepeatAddedMessage(size_t before, Conversation* conversation) {
  if (conversation->messages.size() == before) return;
  RejectedAnswer& pair = *conversation->pair;
  pair.messages.insert(pair.messages.begin(), conversation->messages.front());
  ++pair.prompt_size;
  ++pair.added_messages;
}

std::string PairMessageName(const RejectedAnswer& pair, const char* answer, size_t index) {
  if (index < pair.added_messages) return "the system message";
  const size_t own = index - pair.added_messages;
  if (pair.implicit_prompt) return absl::StrCat(answer, "[", own, "]");
  if (index < pair.prompt_size) return absl::StrCat("prompt[", own, "]");
  return absl::StrCat(answer, "[", index - pair.prompt_size, "]");
}

}  // namespace trainerd::engine
