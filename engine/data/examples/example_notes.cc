// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/example_notes.h"

#include <string.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/data/profiles/python_text.h"
#include "engine/text/template_messages.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

// Shorter answers ("Yes.") stand in questions by right.
constexpr size_t kLeastLeakBytes = 30;

bool IsTrained(const ordered_json& message) {
  const auto weight = message.find("weight");
  if (weight != message.end() && *weight == 0) return false;
  const auto train = message.find("train");
  return train == message.end() || *train != false;
}

// Whether the 8 bytes are ASCII without NUL.
bool IsPlainAscii(const char* bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHighBits = 0x8080808080808080;
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return ((word | (word - kOnes)) & kHighBits) == 0;
}

// The text of a message; parts are joined in *joined.
std::string_view TextOf(const ordered_json& message, std::string* joined) {
  const auto content = message.find("content");
  if (content == message.end()) return {};
  if (content->is_string()) return content->get_ref<const std::string&>();
  *joined = JoinedParts(*content).value_or("");
  return *joined;
}

bool IsReasoning(std::string_view key) {
  return std::find(std::begin(kReasoningKeys), std::end(kReasoningKeys), key) !=
         std::end(kReasoningKeys);
}

bool HasCalls(const ordered_json& message) {
  const auto calls = message.find("tool_calls");
  return calls != message.end() && calls->is_array() && !calls->empty();
}

bool StandsBefore(std::string_view answer, const ordered_json& messages, size_t end) {
  for (size_t i = 0; i < end; ++i) {
    std::string joined;
    const std::string_view text = TextOf(messages[i], &joined);
    if (text.size() >= answer.size() && messages[i]["role"] != "assistant" &&
        memmem(text.data(), text.size(), answer.data(), answer.size()) != nullptr) {
      return true;
    }
  }
  return false;
}

// Whether bytes of the text belong to no token.
bool HasGaps(const Encoding& encoding, size_t text_size) {
  uint32_t reached = 0;
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    if (encoding.begin[i] > reached) return true;
    reached = std::max(reached, encoding.end[i]);
  }
  return reached < text_size;
}

// The bytes that spell special token `i`, without the white space around them that it swallowed.
TextSpan SpelledAt(std::string_view text, const Encoding& encoding, size_t i,
                   const Tokenizer& tokenizer) {
  const TextSpan token{encoding.begin[i], encoding.end[i]};
  const std::string_view spelling = tokenizer.IdToToken(encoding.ids[i]);
  const size_t at = text.substr(token.begin, token.end - token.begin).find(spelling);
  if (at == std::string_view::npos) return token;  // spelled otherwise before NFC
  const auto begin = token.begin + static_cast<uint32_t>(at);
  return {begin, begin + static_cast<uint32_t>(spelling.size())};
}

// Whether `value` holds something that a template could print.
bool IsGiven(const ordered_json& value) {
  if (value.is_string()) return !PythonStrip(value.get_ref<const std::string&>()).empty();
  if (const auto text = JoinedParts(value)) return !PythonStrip(*text).empty();
  return !value.is_null() && !(value.is_structured() && value.empty());
}

// The fields that are printed or lost; others may be switches.
bool IsTextField(std::string_view key) {
  return key == "content" || key == "tool_calls" || key == "name" || IsReasoning(key);
}

// The source contains `.key`, 'key' or "key".
bool Mentions(std::string_view source, const std::string& key) {
  for (size_t at = source.find(key); at != std::string_view::npos; at = source.find(key, at + 1)) {
    if (at == 0) continue;
    const char before = source[at - 1];
    if (before == '.') return true;
    const size_t end = at + key.size();
    if ((before == '\'' || before == '"') && end < source.size() && source[end] == before)
      return true;
  }
  return false;
}

// Whether a message before `end` calls the function `name`.
bool IsCalledBefore(const ordered_json& messages, size_t end, const ordered_json& name) {
  for (size_t i = 0; i < end; ++i) {
    if (!HasCalls(messages[i])) continue;
    for (const ordered_json& call : messages[i]["tool_calls"]) {
      const auto inner = call.find("function");
      const ordered_json& function = inner != call.end() ? *inner : call;
      const auto called = function.find("name");
      if (called != function.end() && *called == name) return true;
    }
  }
  return false;
}

class FieldCheck {
 public:
  FieldCheck(const ordered_json& messages, std::string_view source,
             const RenderedConversation& rendered, RowNotes* notes)
      : messages_(messages), source_(source), rendered_(rendered), notes_(notes) {}

  void CheckMessage(size_t index) {
    size_t position = 0;
    for (const auto& item : messages_[index].items()) {
      if (rendered_.IsKeyRendered(index, position++)) continue;
      if (IsSilent(index, item.key(), item.value())) continue;
      Add(item.key());
    }
  }
  void Add(const std::string& field) {
    std::vector<std::string>& fields = notes_->unrendered;
    if (std::find(fields.begin(), fields.end(), field) == fields.end()) fields.push_back(field);
  }

 private:
  bool IsSilent(size_t index, const std::string& key, const ordered_json& value) const {
    if (key == "role" || key == "weight" || key == "train" || key == "tool_call_id") return true;
    if (!IsGiven(value) || (IsReasoning(key) && IsRenderedReasoning(index, value))) return true;
    if (key == "name" && messages_[index]["role"] != "assistant") {
      return IsCalledBefore(messages_, index, value);
    }
    return !IsTextField(key) && !value.is_structured() && Mentions(source_, key);
  }

  // The same reasoning was rendered from another key.
  bool IsRenderedReasoning(size_t index, const ordered_json& value) const {
    size_t position = 0;
    for (const auto& item : messages_[index].items()) {
      if (rendered_.IsKeyRendered(index, position++) && IsReasoning(item.key()) &&
          item.value() == value) {
        return true;
      }
    }
    return false;
  }

  const ordered_json& messages_;
  const std::string_view source_;
  const RenderedConversation& rendered_;
  RowNotes* const notes_;
};

}  // namespace

bool HasEncodingFault(std::string_view text) {
  const auto at = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  for (size_t i = 0; i < text.size(); ++i) {
    while (i + 8 <= text.size() && IsPlainAscii(text.data() + i)) i += 8;
    if (i == text.size()) break;
    const uint8_t byte = at(i);
    if (byte == 0) return true;
    if (byte < 0xc3) continue;
    if (byte == 0xef && at(i + 1) == 0xbf && at(i + 2) == 0xbd) return true;  // U+FFFD
    if (byte != 0xc3) continue;
    if (at(i + 1) == 0x83 && at(i + 2) == 0xc2) return true;  // Ã, then U+0080 to U+00BF
    if (at(i + 1) == 0xa2 && at(i + 2) == 0xe2 && at(i + 3) == 0x82 && at(i + 4) == 0xac)
      return true;  // â€
  }
  return false;
}

void NoteMessages(const ordered_json& messages, RowNotes* notes) {
  notes->no_assistant = true;
  for (size_t i = 0; i < messages.size(); ++i) {
    const ordered_json& message = messages[i];
    std::string joined;
    const std::string_view text = TextOf(message, &joined);
    notes->bad_encoding |= HasEncodingFault(text);
    if (message["role"] != "assistant") continue;
    notes->no_assistant = false;
    if (!IsTrained(message)) continue;
    const std::string_view answer = PythonStrip(text);
    if (answer.size() >= kLeastLeakBytes && StandsBefore(answer, messages, i)) {
      notes->answer_in_question = true;
    }
  }
}

void NoteAnswers(const ordered_json& messages, const RenderedConversation& rendered,
                 const std::vector<TextSpan>& targets, RowNotes* notes) {
  enum class Answer { kUntrained, kEmpty, kText };
  std::vector<Answer> answers(messages.size(), Answer::kUntrained);
  auto target = targets.begin();
  for (const MessageSpan& span : rendered.message_spans) {
    while (target != targets.end() && target->end <= span.begin) ++target;
    for (auto i = target; i != targets.end() && i->begin < span.end; ++i) {
      const uint32_t begin = std::max(i->begin, span.begin), end = std::min(i->end, span.end);
      if (begin >= end || span.message < 0) continue;
      Answer& answer = answers[static_cast<size_t>(span.message)];
      const std::string_view text(rendered.text.data() + begin, end - begin);
      const bool says_something = span.content && !PythonStrip(text).empty();
      answer = std::max(answer, says_something ? Answer::kText : Answer::kEmpty);
    }
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    if (answers[i] != Answer::kEmpty || messages[i]["role"] != "assistant") continue;
    notes->empty_answer = static_cast<int>(i);
    return;
  }
}

void NoteFields(const Conversation& conversation, const ChatTemplate& chat_template,
                const RenderOptions& options, const RenderedConversation& rendered,
                RowNotes* notes) {
  notes->quoted_arguments = rendered.quoted_arguments;
  FieldCheck check(conversation.messages, chat_template.source(options), rendered, notes);
  if (!rendered.rendered_tools && IsGiven(conversation.tools)) check.Add("tools");
  for (size_t i = 0; i < conversation.messages.size(); ++i) check.CheckMessage(i);
  if (!conversation.variables.is_object()) return;
  for (const auto& item : conversation.variables.items()) {
    if (chat_template.ReadsVariable(item.key())) continue;
    check.Add(absl::StrCat("chat_template_kwargs.", item.key()));
  }
}

void NoteTokens(const ordered_json& messages, const RenderedConversation& rendered,
                const Encoding& encoding, const Tokenizer& tokenizer, RowNotes* notes) {
  if (tokenizer.unspellable_bytes() > 0) {
    notes->lost_bytes = HasGaps(encoding, rendered.text.size());
  }
  // A special token whose bytes came out of a message's field is a control token that the data
  // wrote. When the next thing that the template writes, white space aside, is the same token, the
  // answer brought its own end-of-turn text.
  const std::vector<MessageSpan>& spans = rendered.message_spans;
  size_t at = 0;
  int32_t pending = -1;
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    if (!tokenizer.IsSpecial(encoding.ids[i])) {
      if (pending < 0) continue;
      const std::string_view bytes(rendered.text.data() + encoding.begin[i],
                                   encoding.end[i] - encoding.begin[i]);
      if (!PythonStrip(bytes).empty()) pending = -1;
      continue;
    }
    const TextSpan token = SpelledAt(rendered.text, encoding, i, tokenizer);
    while (at < spans.size() && spans[at].end <= token.begin) ++at;
    size_t content = at;
    while (content < spans.size() && spans[content].begin < token.end && !spans[content].content) {
      ++content;
    }
    if (content < spans.size() && spans[content].begin < token.end) {
      const int message = spans[content].message;
      if (!notes->control_tokens) {
        notes->first_control_token = encoding.ids[i];
        notes->first_control_message = message;
      }
      notes->control_tokens = true;
      const bool answers =
          message >= 0 && messages[static_cast<size_t>(message)]["role"] == "assistant";
      pending = answers ? encoding.ids[i] : -1;
    } else {
      if (encoding.ids[i] == pending) notes->doubled_end = true;
      pending = -1;
    }
  }
}

}  // namespace trainerd::engine
