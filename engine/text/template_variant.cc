// SPDX-License-Identifier: Apache-2.0
#include "engine/text/template_variant.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "engine/text/jinja/interpreter.h"
#include "engine/text/jinja/syntax/parser.h"
#include "engine/text/template_messages.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using jinja::Tag;
using jinja::Value;
using Json = nlohmann::ordered_json;

constexpr const char* kUsualRoles[] = {"system", "user", "assistant", "tool"};
// Further roles that PrintedRoles tries, whatever the template's source.
constexpr const char* kFurtherRoles[] = {"developer", "model", "function", "ipython"};

// Roles that are probed and remembered. A file with more has no roles, but something else.
constexpr size_t kMaxOtherRoles = 1024;
const RoleTraits kNotProbed;

// Far above what a short conversation needs: a template must not hold up its own loading.
constexpr jinja::Limits kProbeLimits{.max_steps = 100'000, .max_output_bytes = 1 << 20};

// Words of the source that PrintedRoles tries as roles.
constexpr size_t kMaxRoleBytes = 24;
constexpr size_t kMaxCandidates = 64;

RenderedConversation ToRendered(const jinja::TaggedText& text, size_t num_messages) {
  RenderedConversation rendered;
  rendered.text = text.text();
  rendered.rendered_keys.assign(num_messages, 0);
  text.ForEachRun([&](size_t begin, size_t end, const Tag& tag) {
    const auto b = static_cast<uint32_t>(begin), e = static_cast<uint32_t>(end);
    auto& spans = rendered.message_spans;
    if (!spans.empty() && spans.back().message == tag.message &&
        spans.back().content == tag.content) {
      spans.back().end = e;
    } else {
      spans.push_back({tag.message, b, e, tag.content});
    }
    if (tag.field == jinja::kToolsField) {
      rendered.rendered_tools = true;
    } else if (tag.field > 0 && tag.message >= 0) {
      rendered.rendered_keys[static_cast<size_t>(tag.message)] |= uint64_t{1} << (tag.field - 1);
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

// The quoted words of `source` that may be roles.
std::vector<std::string> QuotedWords(std::string_view source) {
  std::vector<std::string> words;
  for (size_t i = 0; i < source.size() && words.size() < kMaxCandidates; ++i) {
    if (source[i] != '\'' && source[i] != '"') continue;
    size_t end = i + 1;
    while (end < source.size() &&
           (std::islower(static_cast<unsigned char>(source[end])) || source[end] == '_')) {
      ++end;
    }
    if (end >= source.size() || source[end] != source[i]) continue;
    std::string word(source.substr(i + 1, end - i - 1));
    if (word.size() >= 2 && word.size() <= kMaxRoleBytes &&
        std::find(words.begin(), words.end(), word) == words.end()) {
      words.push_back(std::move(word));
    }
    i = end;
  }
  return words;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TemplateVariant>> TemplateVariant::Create(
    std::string source, const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(auto parsed, jinja::Parse(source));
  std::unique_ptr<TemplateVariant> variant(
      new TemplateVariant(std::move(source), std::move(parsed)));
  // A token that no file names is an undefined variable, as in transformers.
  for (const auto& [name, spelling] : tokenizer.named_tokens()) {
    variant->special_tokens_.emplace_back(name, Value::String(spelling));
  }
  for (const char* role : kUsualRoles) {
    variant->usual_roles_.emplace_back(role, variant->Probe(role));
  }
  return variant;
}

RoleTraits TemplateVariant::Probe(const std::string& role) const {
  return ProbeRole(role, [this](const Json& messages) {
    return RenderAs(messages, {.now = "2000-01-01 00:00:00"}, /*adapts=*/false);
  });
}

const RoleTraits& TemplateVariant::TraitsOf(const std::string& role) const {
  for (const auto& [name, traits] : usual_roles_) {
    if (name == role) return traits;
  }
  {
    absl::MutexLock lock(&mutex_);
    const auto found = other_roles_.find(role);
    if (found != other_roles_.end()) return *found->second;
  }
  auto probed = std::make_unique<const RoleTraits>(Probe(role));
  absl::MutexLock lock(&mutex_);
  if (other_roles_.size() >= kMaxOtherRoles) return kNotProbed;
  return *other_roles_.try_emplace(role, std::move(probed)).first->second;
}

std::vector<std::string> TemplateVariant::PrintedRoles() const {
  std::vector<std::string> roles(std::begin(kUsualRoles), std::end(kUsualRoles));
  roles.insert(roles.end(), std::begin(kFurtherRoles), std::end(kFurtherRoles));
  for (std::string& word : QuotedWords(source_)) {
    if (std::find(roles.begin(), roles.end(), word) == roles.end()) {
      roles.push_back(std::move(word));
    }
  }
  roles.erase(std::remove_if(roles.begin(), roles.end(),
                             [&](const std::string& role) { return !TraitsOf(role).printed; }),
              roles.end());
  return roles;
}

absl::StatusOr<RenderedConversation> TemplateVariant::Render(const Json& messages,
                                                             const RenderOptions& options) const {
  return RenderAs(messages, options, /*adapts=*/true);
}

absl::StatusOr<RenderedConversation> TemplateVariant::RenderAs(const Json& messages,
                                                               const RenderOptions& options,
                                                               bool adapts) const {
  jinja::Interpreter interpreter(*parsed_, options.now, adapts ? jinja::Limits{} : kProbeLimits);
  for (const auto& [name, value] : special_tokens_) interpreter.SetVariable(name, value);
  const TraitsOfRole traits = [&](const std::string& role) {
    return adapts ? &TraitsOf(role) : nullptr;
  };
  ASSIGN_OR_RETURN(Value messages_value, MessagesValue(messages, traits));
  interpreter.SetVariable("messages", std::move(messages_value));
  interpreter.SetVariable("tools", ToolsValue(options.tools));
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
  RenderedConversation rendered = ToRendered(text, messages.size());
  rendered.quoted_arguments = interpreter.quoted_json();
  return rendered;
}

bool TemplateVariant::ReadsVariable(std::string_view name) const {
  const std::vector<std::string>& symbols = parsed_->symbols;
  return std::find(symbols.begin(), symbols.end(), name) != symbols.end();
}

}  // namespace trainerd::engine
