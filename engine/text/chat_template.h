// SPDX-License-Identifier: Apache-2.0
// Renders a conversation through a model's chat template (Jinja), as transformers'
// apply_chat_template does, and records for each stretch of the output which message it came from.
// Provenance is by construction: strings carry it through the interpreter (jinja/); nothing is ever
// found by searching the output. target_spans.h makes labels from it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer/text_span.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

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
};

struct RenderOptions {
  bool add_generation_prompt = false;
  nlohmann::ordered_json tools;  // null = variable `tools` is none
  nlohmann::ordered_json extra;  // further template variables (enable_thinking …): object or null
  // What strftime_now prints, "YYYY-MM-DD HH:MM:SS"; frozen when the job is submitted.
  // Empty: a template that uses the time fails.
  std::string now;
};

// A parsed template. Thread-safety: Render may be called from many threads at once.
class ChatTemplate {
 public:
  // Parses `source`. bos_token, eos_token, pad_token and unk_token come from the tokenizer.
  // Errors: InvalidArgument with template line and column.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> FromSource(std::string source,
                                                                  const Tokenizer& tokenizer);

  // Plain ChatML as template source: "<|im_start|>{role}\n{content}<|im_end|>\n" for each message,
  // "<|im_start|>assistant\n" as generation prompt.
  static std::string ChatMlSource();

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // Renders `messages` (an array of objects with "role" and whatever else the template reads).
  // Errors: InvalidArgument with template line and column: raise_exception of the template, a
  // type error, or a limit of the sandbox (output bytes, steps, depth).
  absl::StatusOr<RenderedConversation> Render(const nlohmann::ordered_json& messages,
                                              const RenderOptions& options) const;

  bool has_generation_marks() const;  // the source has {% generation %}
  const std::string& source() const;
  std::string fingerprint() const;  // XXH3-128 in hex of the source

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace trainerd::engine
