// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/text_pipeline.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::StatusOr<TextPipeline> OpenTextPipeline(const v1::JobConfig& config) {
  TextPipeline text;
  ASSIGN_OR_RETURN(text.tokenizer, Tokenizer::Load(config.model().path()));
  const std::string& choice = config.data().chat_template();
  std::vector<NamedTemplate> templates;
  if (choice.empty() || choice == "model") {
    templates = text.tokenizer->chat_templates();
    if (templates.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the model folder ", config.model().path(),
                       " has no chat template; set data.chat_template: chatml, or the path of a "
                       ".jinja file"));
    }
  } else if (choice == "chatml") {
    templates.push_back({"default", ChatTemplate::ChatMlSource()});
  } else {
    absl::StatusOr<std::string> file = ReadFile(choice);
    if (!file.ok()) return Annotate(file.status(), "data.chat_template");
    templates.push_back({"default", *std::move(file)});
  }
  absl::StatusOr<std::unique_ptr<ChatTemplate>> chat_template =
      ChatTemplate::FromTemplates(templates, *text.tokenizer);
  if (!chat_template.ok()) {
    return Annotate(chat_template.status(), "data.chat_template (",
                    choice.empty() ? "model" : choice, ")");
  }
  text.chat_template = *std::move(chat_template);
  return text;
}

}  // namespace trainerd::engine
