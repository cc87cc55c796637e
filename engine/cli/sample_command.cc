// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/sample_command.h"

#include <c10/core/Device.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/model/adapter/adapter_folder.h"
#include "engine/model/adapter_loader.h"
#include "engine/model/decoder.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/parameters.h"
#include "engine/platform/torch_status.h"
#include "engine/train/sample_generator.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/found_checkpoint.h"

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

// The folder that holds the model itself: options.model_folder, or the one that an adapter names.
absl::StatusOr<std::string> WholeModelFolder(const SampleOptions& options,
                                             const AdapterFolder* adapter) {
  if (adapter == nullptr) return options.model_folder;
  const std::string& base = adapter->config().base_model;
  if (IsFolder(base)) return base;
  return absl::NotFoundError(
      absl::StrCat(options.model_folder, " is an adapter of \"", base,
                   "\", which is no folder here; set base_model_name_or_path in its ",
                   kAdapterConfigName, " to the folder of that model"));
}

absl::StatusOr<std::unique_ptr<ParameterSet>> LoadParameters(const std::string& folder,
                                                             const AdapterFolder* adapter,
                                                             ModelConfig& config) {
  ASSIGN_OR_RETURN(const std::unique_ptr<HfFolder> weights, HfFolder::Open(folder));
  weights->MatchHead(HeadCheck::kAll, config);
  RETURN_IF_ERROR(weights->CheckComplete(config));
  AdapterSpec spec;
  if (adapter != nullptr) {
    ASSIGN_OR_RETURN(spec, adapter->Resolve(config, /*dropout=*/0.0));
    RETURN_IF_ERROR(adapter->CheckModelCopies(*weights));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<ParameterSet> parameters,
                   ParameterSet::Create(config, Precision::kFp32, c10::Device(c10::kCPU),
                                        /*frozen=*/{}, adapter == nullptr ? nullptr : &spec));
  RETURN_IF_ERROR(parameters->Load(*weights));
  if (adapter != nullptr) RETURN_IF_ERROR(LoadAdapter(*adapter, *parameters));
  return parameters;
}

absl::StatusOr<std::string> Answer(const SampleOptions& options) {
  std::unique_ptr<AdapterFolder> adapter;
  if (HoldsAdapter(options.model_folder)) {
    ASSIGN_OR_RETURN(adapter, AdapterFolder::Open(options.model_folder));
  }
  ASSIGN_OR_RETURN(const std::string whole_model, WholeModelFolder(options, adapter.get()));
  ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(whole_model));
  // An adapter folder may be without a tokenizer.
  const bool has_tokenizer = PathExists(options.model_folder + "/tokenizer.json");
  const std::string& text_folder = has_tokenizer ? options.model_folder : whole_model;
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
  ASSIGN_OR_RETURN(const std::unique_ptr<ParameterSet> parameters,
                   LoadParameters(whole_model, adapter.get(), config));
  std::unique_ptr<Decoder> decoder;
  RETURN_IF_ERROR(CatchTorch([&] { decoder = std::make_unique<Decoder>(config, *parameters); }));
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
