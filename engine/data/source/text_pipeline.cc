// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/text_pipeline.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/data/source/conversation.h"
#include "engine/data/source/findings.h"
#include "engine/data/source/jsonl_reader.h"
#include "engine/data/source/source_format.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// The form of a file's records, by the first one whose form is known.
std::optional<SourceFormat> FormatOfFile(const std::string& path) {
  constexpr size_t kBlockBytes = 64 << 10;
  absl::StatusOr<std::unique_ptr<JsonlReader>> reader =
      JsonlReader::Open(path, {.block_bytes = kBlockBytes});
  ConversationParser parser;
  std::vector<JsonlLine> lines;
  while (reader.ok() && (*reader)->ReadBlock(&lines).ok() && !lines.empty()) {
    for (const JsonlLine& line : lines) {
      if (const auto format = parser.Detect(line.text)) return format;
    }
  }
  return std::nullopt;
}

constexpr char kChatMlEnd[] = "<|im_end|>";

// ChatML whose turns end with a token, because text that is no token would not end generation.
absl::StatusOr<std::string> ChatMlFor(const Tokenizer& tokenizer, const std::string& model_path) {
  const std::string source = ChatTemplate::ChatMlSource();
  const std::optional<int32_t> end = tokenizer.TokenToId(kChatMlEnd);
  if (end.has_value() && (tokenizer.IsSpecial(*end) || end == tokenizer.eos_id())) return source;
  if (!tokenizer.eos_id().has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.chat_template: chatml needs the token ", kChatMlEnd,
                     " or an eos_token to end a turn, and the tokenizer of ", model_path,
                     " has neither; set eos_token in its tokenizer_config.json"));
  }
  // The marker is part of a literal in single quotes.
  return absl::StrReplaceAll(source, {{kChatMlEnd, "' + eos_token + '"}});
}

}  // namespace

bool HasOnlyPlainText(const v1::DataConfig& data) {
  const std::vector<std::string> files = DataFiles(data);
  return !files.empty() && std::all_of(files.begin(), files.end(), [](const std::string& path) {
    return FormatOfFile(path) == SourceFormat::kText;
  });
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> OpenChatTemplate(const v1::JobConfig& config,
                                                               const Tokenizer& tokenizer) {
  const std::string& choice = config.data().chat_template();
  std::vector<NamedTemplate> templates;
  if (choice.empty() || choice == "model") {
    templates = tokenizer.chat_templates();
    // Plain text needs none.
    if (templates.empty() && HasOnlyPlainText(config.data())) {
      templates.push_back({"default", ChatTemplate::ChatMlSource()});
    }
    if (templates.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the model folder ", config.model().path(),
                       " has no chat template; set data.chat_template: chatml, or the path of a "
                       ".jinja file"));
    }
  } else if (choice == "chatml") {
    ASSIGN_OR_RETURN(std::string source, ChatMlFor(tokenizer, config.model().path()));
    templates.push_back({"default", std::move(source)});
  } else {
    absl::StatusOr<std::string> file = ReadFile(choice);
    if (!file.ok()) return Annotate(file.status(), "data.chat_template");
    templates.push_back({"default", *std::move(file)});
  }
  absl::StatusOr<std::unique_ptr<ChatTemplate>> chat_template =
      ChatTemplate::FromTemplates(templates, tokenizer);
  if (!chat_template.ok()) {
    return Annotate(chat_template.status(), "data.chat_template (",
                    choice.empty() ? "model" : choice, ")");
  }
  return chat_template;
}

absl::StatusOr<TextPipeline> OpenTextPipeline(const v1::JobConfig& config) {
  TextPipeline text;
  ASSIGN_OR_RETURN(text.tokenizer, Tokenizer::Load(config.model().path()));
  ASSIGN_OR_RETURN(text.chat_template, OpenChatTemplate(config, *text.tokenizer));
  return text;
}

}  // namespace trainerd::engine
