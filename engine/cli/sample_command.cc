// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/sample_command.h"

#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/cli/whole_model.h"
#include "engine/model/decoder.h"
#include "engine/model/parameters.h"
#include "engine/platform/torch_status.h"
#include "engine/train/sample_generator.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

std::string Moment() {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::Now(), absl::UTCTimeZone());
}

absl::StatusOr<std::vector<int32_t>> PromptIds(const SampleOptions& options,
                                               const SampleGenerator& sample_generator) {
  if (options.raw) return sample_generator.TextIds(options.prompt);
  Json messages = Json::array();
  if (!options.system.empty())
    messages.push_back({{"role", "system"}, {"content", options.system}});
  messages.push_back({{"role", "user"}, {"content", options.prompt}});
  return sample_generator.ConversationIds(messages);
}

absl::StatusOr<std::string> Answer(const SampleOptions& options) {
  ASSIGN_OR_RETURN(WholeModel model, OpenWholeModel(options.model_folder));
  // An adapter folder may be without a tokenizer.
  const bool has_tokenizer = PathExists(options.model_folder + "/tokenizer.json");
  const std::string& text_folder = has_tokenizer ? options.model_folder : model.folder;
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(text_folder));
  std::vector<NamedTemplate> templates = tokenizer->chat_templates();
  if (templates.empty()) {
    if (!options.raw) {
      return absl::FailedPreconditionError(
          absl::StrCat(text_folder, " has no chat template; use --raw to continue plain text"));
    }
    templates.push_back({"default", ChatTemplate::ChatMlSource()});
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<ChatTemplate> chat_template,
                   ChatTemplate::FromTemplates(templates, *tokenizer));
  ASSIGN_OR_RETURN(const std::unique_ptr<ParameterSet> parameters, LoadParameters(model));
  std::unique_ptr<Decoder> decoder;
  RETURN_IF_ERROR(
      CatchTorch([&] { decoder = std::make_unique<Decoder>(model.config, *parameters); }));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<SampleGenerator> sample_generator,
      SampleGenerator::Create(text_folder, *tokenizer, *chat_template, {.now = Moment()}));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, PromptIds(options, *sample_generator));
  return sample_generator->Answer(*decoder, ids, {.max_tokens = options.max_tokens});
}

}  // namespace

int RunSampleCommand(const SampleOptions& options) {
  const absl::StatusOr<std::string> answer = Answer(options);
  if (!answer.ok()) {
    std::fprintf(stderr, "trainerd-worker: %s\n", std::string(answer.status().message()).c_str());
    return absl::IsFailedPrecondition(answer.status()) ? 2 : 1;
  }
  std::printf("%s\n", answer->c_str());
  return 0;
}

}  // namespace trainerd::engine
