// SPDX-License-Identifier: Apache-2.0
// Renders a conversation through a model's chat template (Jinja), as transformers'
// apply_chat_template does, and records for each stretch of the output which message it came from.
// Provenance is by construction: strings carry it through the interpreter (jinja/); nothing is ever
// found by searching the output. target_spans.h makes labels from it.
//
// Where transformers would drop a user's words without an error, this code does not: see
// ContentForm and role_traits.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/unicode/text_span.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

struct RoleTraits;
class TemplateVariant;

// A stretch of output that belongs to message `message`: values of the message's own fields
// (content), or text that the template itself wrote while a loop was at that message (not content).
struct MessageSpan {
  int message = -1;  // index into messages; -1 = no message (system default, generation prompt …)
  uint32_t begin = 0, end = 0;
  bool content = false;
};

// Spans are bytes of `text`.
struct RenderedConversation {
  std::string text;
  std::vector<MessageSpan> message_spans;  // in order, without overlap, covering text
  std::vector<TextSpan> generation_spans;  // what {% generation %} … {% endgeneration %} wrote
  // For each message a set of its keys: bit i = the text has a byte of the i-th key's value. Keys
  // from the 64th on share the last bit.
  std::vector<uint64_t> rendered_keys;
  // The text has a byte of RenderOptions::tools.
  bool rendered_tools = false;
  // A `tojson` quoted arguments of a tool call that are JSON text already.
  bool quoted_arguments = false;

  // Whether the text has a byte of the `position`-th key of a message.
  bool IsKeyRendered(size_t message, size_t position) const {
    return rendered_keys[message] >> (position < 64 ? position : 63) & 1;
  }
};

struct RenderOptions {
  bool add_generation_prompt = false;
  nlohmann::ordered_json tools;  // null = variable `tools` is none
  nlohmann::ordered_json extra;  // further template variables (enable_thinking …): object or null
  // What strftime_now prints, "YYYY-MM-DD HH:MM:SS"; frozen when the job is submitted.
  // Empty: a template that uses the time fails.
  std::string now;
};

// How the content of a user message that is a list of text parts reaches the template.
enum class ContentForm { kList, kJoinedText };

// The template of a model, or its templates. Thread-safety: const methods may be called from many
// threads at once.
class ChatTemplate {
 public:
  // Parses `source`. The special tokens that the tokenizer's files name are variables.
  // Errors: InvalidArgument with template line and column.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> FromSource(std::string source,
                                                                  const Tokenizer& tokenizer);

  // The same for the named templates of a model folder. As in transformers, "tool_use", if there is
  // one, renders conversations with tools, and "default" all others; further names are not used.
  // Errors: also InvalidArgument if there is neither.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> FromTemplates(
      const std::vector<NamedTemplate>& templates, const Tokenizer& tokenizer);

  // Plain ChatML as template source: "<|im_start|>{role}\n{content}<|im_end|>\n" for each message,
  // "<|im_start|>assistant\n" as generation prompt.
  static std::string ChatMlSource();

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // Renders `messages` (an array of objects with "role" and whatever else the template reads; keys
  // with null are omitted).
  // List content stays a list where the template prints exactly the texts of its parts for that
  // role, else it is joined. Text becomes a list of one part where the template prints only lists.
  // Errors: InvalidArgument with template line and column: raise_exception of the template, a
  // type error, or a limit of the sandbox (output bytes, steps, depth).
  absl::StatusOr<RenderedConversation> Render(const nlohmann::ordered_json& messages,
                                              const RenderOptions& options) const;

  // What the template that renders with `options` makes of a role.
  const RoleTraits& TraitsOf(const std::string& role, const RenderOptions& options) const;
  // The roles that it prints, for a message.
  std::vector<std::string> PrintedRoles(const RenderOptions& options) const;

  // For conversations without tools.
  ContentForm content_form() const;
  // The template that renders with `options` has {% generation %}.
  bool has_generation_marks(const RenderOptions& options = {}) const;
  // Some template reads a variable or calls a function of that name.
  bool ReadsVariable(std::string_view name) const;
  // The source of the template that renders with `options`.
  const std::string& source(const RenderOptions& options = {}) const;
  std::string fingerprint() const;  // XXH3-128 in hex of the source of all templates

 private:
  ChatTemplate(std::unique_ptr<TemplateVariant> plain, std::unique_ptr<TemplateVariant> tool_use);
  const TemplateVariant& ChosenBy(const RenderOptions& options) const;

  // Null = the model has tool_use alone.
  const std::unique_ptr<TemplateVariant> default_;
  const std::unique_ptr<TemplateVariant> tool_use_;  // null = default_ renders all
};

}  // namespace trainerd::engine
