// SPDX-License-Identifier: Apache-2.0
#include "engine/text/chat_template.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/text/jinja/interpreter.h"
#include "engine/text/jinja/syntax/parser.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

using jinja::Tag;
using jinja::Value;
using Json = nlohmann::ordered_json;

// The fields under which a message's reasoning may come, as transformers knows them.
constexpr const char* kReasoningFields[] = {"reasoning_content", "thinking", "reasoning"};

// transformers passes the reasoning to templates as "reasoning_content" and "thinking", whatever
// its key was. Returns null if there is none.
const Json* Reasoning(const Json& message) {
  for (const char* field : kReasoningFields) {
    const auto it = message.find(field);
    if (it != message.end() && !it->is_null()) return &*it;
  }
  return nullptr;
}

// Message `index` as the template receives it. Its role does not count as content.
Value MessageValue(const Json& message, int32_t index) {
  const Tag content{index, true, false};
  std::vector<std::pair<Value, Value>> entries;
  const Json* reasoning = Reasoning(message);
  if (reasoning != nullptr && !message.contains("thinking")) {
    entries.emplace_back(Value::String("thinking"), Value::FromJson(*reasoning, content));
  }
  bool has_reasoning_content = false;
  for (const auto& field : message.items()) {
    const bool is_reasoning = reasoning != nullptr && field.key() == "reasoning_content";
    has_reasoning_content |= is_reasoning;
    entries.emplace_back(Value::String(field.key(), content),
                         field.key() == "role"
                             ? Value::FromJson(field.value(), {index, false, false})
                             : Value::FromJson(is_reasoning ? *reasoning : field.value(), content));
  }
  if (reasoning != nullptr && !has_reasoning_content) {
    entries.emplace_back(Value::String("reasoning_content"), Value::FromJson(*reasoning, content));
  }
  return Value::Dict(std::move(entries), content);
}

absl::StatusOr<Value> MessagesValue(const Json& messages) {
  if (!messages.is_array()) return absl::InvalidArgumentError("messages must be a list");
  std::vector<Value> values;
  values.reserve(messages.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) {
      return absl::InvalidArgumentError(absl::StrCat("message ", i, " must be an object"));
    }
    values.push_back(MessageValue(messages[i], static_cast<int32_t>(i)));
    if (values.back().depth() > jinja::kMaxValueDepth) {
      return absl::InvalidArgumentError(absl::StrCat("message ", i, " is nested too deeply"));
    }
  }
  return Value::List(std::move(values));
}

RenderedConversation ToRendered(const jinja::TaggedText& text) {
  RenderedConversation rendered;
  rendered.text = text.text();
  text.ForEachRun([&](size_t begin, size_t end, const Tag& tag) {
    const auto b = static_cast<uint32_t>(begin), e = static_cast<uint32_t>(end);
    auto& spans = rendered.message_spans;
    if (!spans.empty() && spans.back().message == tag.message &&
        spans.back().content == tag.content) {
      spans.back().end = e;
    } else {
      spans.push_back({tag.message, b, e, tag.content});
    }
    if (!tag.generation) return;
    auto& marks = rendered.generation_spans;
    if (!marks.empty() && marks.back().end == b) {
      marks.back().end = e;
    } else {
      marks.push_back({b, e});
    }
  });
  return rendered;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string source;
  std::unique_ptr<jinja::Template> parsed;
  std::vector<std::pair<std::string, Value>> special_tokens;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::FromSource(std::string source,
                                                                       const Tokenizer& tokenizer) {
  auto impl = std::make_unique<Impl>();
  ASSIGN_OR_RETURN(impl->parsed, jinja::Parse(source));
  impl->source = std::move(source);
  // A token that the tokenizer does not have is an undefined variable, as in transformers.
  const auto add = [&](const char* name, std::optional<int32_t> id) {
    if (!id.has_value()) return;
    impl->special_tokens.emplace_back(name, Value::String(std::string(tokenizer.IdToToken(*id))));
  };
  add("bos_token", tokenizer.bos_id());
  add("eos_token", tokenizer.eos_id());
  add("pad_token", tokenizer.pad_id());
  add("unk_token", tokenizer.unk_id());
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
}

std::string ChatTemplate::ChatMlSource() {
  return "{%- for message in messages %}"
         "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
         "{%- endfor %}"
         "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
}

absl::StatusOr<RenderedConversation> ChatTemplate::Render(const Json& messages,
                                                          const RenderOptions& options) const {
  jinja::Interpreter interpreter(*impl_->parsed, options.now);
  for (const auto& [name, value] : impl_->special_tokens) interpreter.SetVariable(name, value);
  ASSIGN_OR_RETURN(Value messages_value, MessagesValue(messages));
  interpreter.SetVariable("messages", std::move(messages_value));
  interpreter.SetVariable("tools", Value::FromJson(options.tools, {}));
  interpreter.SetVariable("documents", Value());
  interpreter.SetVariable("add_generation_prompt", Value::Bool(options.add_generation_prompt));
  if (options.extra.is_object()) {
    for (const auto& item : options.extra.items()) {
      interpreter.SetVariable(item.key(), Value::FromJson(item.value(), {}));
    }
  } else if (!options.extra.is_null()) {
    return absl::InvalidArgumentError("template variables must be an object");
  }
  jinja::TaggedText text;
  RETURN_IF_ERROR(interpreter.Run(&text));
  return ToRendered(text);
}

bool ChatTemplate::has_generation_marks() const { return impl_->parsed->has_generation; }
const std::string& ChatTemplate::source() const { return impl_->source; }
std::string ChatTemplate::fingerprint() const { return ToHex(Xxh3(impl_->source)); }

}  // namespace trainerd::engine
