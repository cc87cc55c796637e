// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/job_model.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/placeholder_file.h"
#include "engine/model/adapter/peft_config.h"
#include "engine/model/folder/optimizer_state.h"
#include "engine/model/folder/unexpected_tensors.h"
#include "engine/text/target_spans.h"
#include "engine/text/tokenizer/beyond_embedding.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/advice/model_path.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

// A folder with more files is no model folder, and is not searched further.
constexpr int kMaxEntries = 10'000;

// The one folder below `folder`, at most two levels down, that has a config.json: a download within
// a folder, or an entry of the Hub's cache. "" if there is none, or several.
std::string FolderWithin(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> found;
  int num_entries = 0;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end;
       !error && it != end && ++num_entries < kMaxEntries; it.increment(error)) {
    if (it.depth() >= 2) it.disable_recursion_pending();
    if (it->path().filename() == "config.json" && it.depth() > 0)
      found.push_back(it->path().parent_path().string());
  }
  return found.size() == 1 ? found[0] : "";
}

// What to do about missing files.
std::string FolderAdvice(const std::string& folder) {
  const auto has = [&](const char* name) { return PathExists(absl::StrCat(folder, "/", name)); };
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (has(name)) return absl::StrCat("its ", name, " is not read, save the model as safetensors");
  }
  if (!has("tokenizer.json") && (has("tokenizer.model") || has("vocab.json"))) {
    return absl::StrCat("its ", has("tokenizer.model") ? "tokenizer.model" : "vocab.json",
                        " is not read, save the tokenizer with save_pretrained of transformers' "
                        "AutoTokenizer");
  }
  if (IsAdapterFolder(folder)) {
    return "it is an adapter, merge it into its base model (output.form: merged), or set "
           "lora.adapter_path to it and model.path to its base model";
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".gguf")
      return "its .gguf file is not read, download the model in the safetensors format";
  }
  if (const std::string inner = FolderWithin(folder); !inner.empty())
    return absl::StrCat("set model.path to ", inner, ", which has a config.json");
  return "download all files of the model into it";
}

// PlaceholderText of a file that may be missing.
std::string PlaceholderIn(const std::string& path) {
  const absl::StatusOr<Fd> file = OpenRegularFile(path);
  if (!file.ok()) return "";
  char head[64] = {};
  const ssize_t size = read(file->get(), head, sizeof(head));
  return PlaceholderText(path, {head, static_cast<size_t>(std::max<ssize_t>(0, size))});
}

// Whether the checkpoint in `folder` holds the adapter that the job's keys describe.
absl::Status CheckSameAdapter(const AdapterSpec& ours, const AdapterSpec& theirs,
                              const std::string& folder) {
  const auto modules = [](const AdapterSpec& adapter) {
    std::vector<std::string> names;
    for (const AdapterTarget& target : adapter.targets) names.push_back(target.module);
    return names;
  };
  std::vector<std::string> changes;
  if (ours.rank != theirs.rank)
    changes.push_back(absl::StrCat("lora.r ", theirs.rank, " instead of ", ours.rank));
  if (ours.alpha != theirs.alpha)
    changes.push_back(absl::StrCat("lora.alpha ", theirs.alpha, " instead of ", ours.alpha));
  if (ours.rslora != theirs.rslora)
    changes.push_back(absl::StrCat("lora.rslora ", theirs.rslora ? "true" : "false"));
  if (modules(ours) != modules(theirs)) {
    changes.push_back(
        absl::StrCat("lora.target_modules [", absl::StrJoin(theirs.target_modules, ", "), "]"));
  }
  if (changes.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      folder, " holds another adapter than the job describes; set ", absl::StrJoin(changes, ", ")));
}

// Fills in a JobModel.
class Opening {
 public:
  Opening(const v1::JobConfig& config, const JobModelOptions& options, JobModel* model)
      : config_(config), options_(options), folder_(config.model().path()), model_(*model) {}

  void Run() {
    std::error_code error;
    if (!std::filesystem::is_directory(folder_, error)) {
      return Error("MODEL_FOLDER", folder_, absl::NotFoundError(NoModelFolderText(folder_)));
    }
    if (!IsFolder(folder_)) {
      return Error("MODEL_FOLDER", folder_, absl::InvalidArgumentError(NoModelFolderText(folder_)));
    }
    CheckFiles();
    CheckPlaceholders();
    const bool has_config = !missing_config_ && OpenConfig();
    if (has_config && !missing_weights_) OpenWeights();
    if (has_config) Freeze();
    if (has_config && config_.has_lora()) Adapter();
    if (options_.with_optimizer_state) CheckOptimizer();
    if (!missing_tokenizer_ && OpenText()) CheckText(has_config);
    if (has_config) CheckLength();
  }

 private:
  void Error(const std::string& code, const std::string& place, const absl::Status& status) {
    model_.findings.push_back({code, place, status, std::string(status.message())});
  }
  void Warning(const std::string& code, const std::string& place, const std::string& message) {
    model_.findings.push_back({code, place, absl::OkStatus(), message});
  }

  // All missing files in one finding: of each kind only the first message is reported.
  void CheckFiles() {
    const std::string& weights = options_.weights_folder;
    missing_config_ = !PathExists(folder_ + "/config.json");
    missing_tokenizer_ = !PathExists(folder_ + "/tokenizer.json");
    missing_weights_ = !weights.empty() && !PathExists(weights + "/model.safetensors") &&
                       !PathExists(weights + "/model.safetensors.index.json");
    std::vector<std::string> missing;
    if (missing_config_) missing.emplace_back("config.json");
    if (missing_tokenizer_) missing.emplace_back("tokenizer.json");
    if (missing_weights_ && weights == folder_) {
      missing.emplace_back(
          "weights (model.safetensors, or model.safetensors.index.json with shards)");
    }
    if (!missing.empty()) {
      Error("MODEL_FOLDER", folder_,
            absl::NotFoundError(absl::StrCat("model.path needs a Hugging Face model folder; ",
                                             folder_, " has no ", absl::StrJoin(missing, ", no "),
                                             ": ", FolderAdvice(folder_))));
    }
    if (missing_weights_ && weights != folder_) {
      Error("MODEL_FOLDER", weights,
            absl::NotFoundError(absl::StrCat(
                weights,
                " has no weights (model.safetensors, or model.safetensors.index.json with "
                "shards), from which the job starts; put the folder back")));
    }
  }

  // Those of the weights are found when they are opened.
  void CheckPlaceholders() {
    const auto is_real = [&](const char* name) {
      const std::string path = absl::StrCat(folder_, "/", name), text = PlaceholderIn(path);
      if (!text.empty())
        Error("MODEL_FOLDER", path, absl::DataLossError(absl::StrCat(path, ": ", text)));
      return text.empty();
    };
    if (!is_real("config.json")) missing_config_ = true;
    if (!is_real("tokenizer.json") || !is_real("tokenizer_config.json")) missing_tokenizer_ = true;
  }

  bool OpenConfig() {
    absl::StatusOr<ModelConfig> config = ReadModelConfig(folder_);
    if (!config.ok()) {
      Error("MODEL_CONFIG", folder_, config.status());
      return false;
    }
    model_.config = *std::move(config);
    return true;
  }

  void OpenWeights() {
    const std::string& folder = options_.weights_folder;
    if (folder.empty()) return;
    absl::StatusOr<std::unique_ptr<HfFolder>> weights = HfFolder::Open(folder, model_.config.names);
    if (!weights.ok()) return Error("MODEL_WEIGHTS", folder, weights.status());
    model_.weights = *std::move(weights);
    if (model_.weights->MatchHead(options_.head_check, model_.config)) {
      Warning(kUntiedHead, folder,
              absl::StrCat(folder,
                           ": lm_head.weight differs from the embedding, so the head is "
                           "trained and saved on its own although config.json has "
                           "\"tie_word_embeddings\": true"));
    }
    const absl::Status complete = model_.weights->CheckComplete(model_.config);
    if (!complete.ok()) Error("MODEL_WEIGHTS", folder, complete);
    // The names of quantized weights are not those of the model.
    if (absl::IsUnimplemented(complete)) return;
    const UnexpectedTensors unexpected =
        FindUnexpectedTensors(model_.weights->Names(), model_.config);
    const absl::Status refused = RefusedTensorsStatus(unexpected, model_.config, folder);
    if (!refused.ok()) Error("UNEXPECTED_TENSORS", folder, refused);
    if (!unexpected.ignored.empty())
      Warning("UNEXPECTED_TENSORS", folder, IgnoredTensorsText(unexpected, folder));
  }

  void Freeze() {
    const auto& patterns = config_.train().freeze();
    absl::StatusOr<FrozenNames> frozen =
        ResolveFreeze(model_.config, {patterns.begin(), patterns.end()});
    if (!frozen.ok()) return Error("FREEZE", "", frozen.status());
    model_.frozen = *std::move(frozen);
  }

  void Adapter() {
    if (options_.adapter_folder.empty()) {
      // An adapter that is not checked has the layers of its configuration.
      if (config_.lora().has_adapter_path()) return;
      absl::StatusOr<AdapterSpec> adapter = ResolveAdapter(config_.lora(), model_.config);
      if (!adapter.ok()) return Error("LORA", "", adapter.status());
      model_.adapter = *std::move(adapter);
      return;
    }
    absl::Status status = OpenAdapter();
    if (!status.ok()) Error("ADAPTER", options_.adapter_folder, status);
  }

  absl::Status OpenAdapter() {
    ASSIGN_OR_RETURN(model_.adapter_weights, AdapterFolder::Open(options_.adapter_folder));
    const AdapterFolder& folder = *model_.adapter_weights;
    ASSIGN_OR_RETURN(AdapterSpec adapter, folder.Resolve(model_.config, config_.lora().dropout()));
    if (!config_.lora().has_adapter_path()) {
      ASSIGN_OR_RETURN(const AdapterSpec ours, ResolveAdapter(config_.lora(), model_.config));
      RETURN_IF_ERROR(CheckSameAdapter(ours, adapter, folder.folder()));
    }
    if (model_.weights != nullptr) RETURN_IF_ERROR(folder.CheckModelCopies(*model_.weights));
    model_.adapter = std::move(adapter);
    return absl::OkStatus();
  }

  // Of a model with other errors, tensors would be missing in this file too.
  void CheckOptimizer() {
    if (model_.weights == nullptr || !model_.status().ok()) return;
    const bool has_adapter = model_.adapter.has_value();
    const std::string& folder = has_adapter ? options_.adapter_folder : options_.weights_folder;
    const absl::Status usable = CheckOptimizerState(
        config_.optimizer(),
        has_adapter ? StoredParameters(*model_.adapter)
                    : StoredParameters(model_.config, *model_.weights, model_.frozen),
        folder);
    if (!usable.ok()) Error(kNoOptimizerState, folder, usable);
  }

  bool OpenText() {
    absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(folder_);
    if (!tokenizer.ok()) {
      Error("TOKENIZER", folder_, tokenizer.status());
      return false;
    }
    model_.text.tokenizer = *std::move(tokenizer);
    absl::StatusOr<std::unique_ptr<ChatTemplate>> chat_template =
        OpenChatTemplate(config_, *model_.text.tokenizer);
    if (chat_template.ok()) {
      model_.text.chat_template = *std::move(chat_template);
      return true;
    }
    const bool is_missing = absl::IsNotFound(chat_template.status());
    Error(is_missing ? "TEMPLATE_FILE" : "CHAT_TEMPLATE",
          is_missing ? config_.data().chat_template() : folder_, chat_template.status());
    return false;
  }

  // Whether the template shows what data.train_on selects.
  absl::Status CheckTargets(const ChatTemplate& chat_template, const Tokenizer& tokenizer) const {
    if (TrainsAllTokens(config_.data().train_on())) return absl::OkStatus();
    if (config_.data().train_on() != v1::DataConfig::TRAIN_ON_TEMPLATE)
      return model_.probe.answer_found;
    return TargetSpans(chat_template, {}, nlohmann::ordered_json::array(), {}, tokenizer,
                       TrainOn::kTemplate)
        .status();
  }

  void CheckText(bool has_config) {
    const Tokenizer& tokenizer = *model_.text.tokenizer;
    const ChatTemplate& chat_template = *model_.text.chat_template;
    if (HasOnlyPlainText(config_.data())) return CheckTokens(has_config);
    model_.probe = ProbeAnswer(chat_template, tokenizer, config_.data().now());
    const absl::Status targets = CheckTargets(chat_template, tokenizer);
    if (!targets.ok()) Error("CHAT_TEMPLATE", folder_, targets);
    CheckTokens(has_config);
  }

  // Whether the tokens have rows in the embedding, first of all those of the template.
  void CheckTokens(bool has_config) {
    const Tokenizer& tokenizer = *model_.text.tokenizer;
    if (!has_config || tokenizer.vocab_size() <= model_.config.vocab_size) return;
    for (const int32_t id : model_.probe.ids) {
      if (id < model_.config.vocab_size) continue;
      return Error("TOKEN_BEYOND_EMBEDDING", folder_,
                   absl::InvalidArgumentError(
                       absl::StrCat("the chat template writes ",
                                    BeyondEmbeddingText(tokenizer, id, model_.config.vocab_size))));
    }
    std::vector<std::string> tokens;
    for (int64_t id = model_.config.vocab_size; id < tokenizer.vocab_size(); ++id) {
      // Nothing is padded here, so the pad token needs no row: transformers too loads such a folder
      // without a word.
      if (id == tokenizer.pad_id()) continue;
      const std::string_view token = tokenizer.IdToToken(static_cast<int32_t>(id));
      if (!token.empty()) tokens.push_back(absl::StrCat("\"", std::string(token), "\""));
    }
    if (tokens.empty()) return;
    Warning("TOKEN_BEYOND_EMBEDDING", folder_,
            absl::StrCat(folder_, ": the embedding has ", model_.config.vocab_size,
                         " rows and none for ", ShortList(tokens),
                         " of the tokenizer; a record that contains such a token ends the job"));
  }

  // Positions restart in each document, so only a document can be too long for the model.
  void CheckLength() {
    if (config_.data().max_length() <= model_.config.max_position_embeddings) return;
    Warning("MAX_LENGTH", folder_,
            absl::StrCat("data.max_length ", config_.data().max_length(), " exceeds the ",
                         model_.config.max_position_embeddings,
                         " positions of the model (\"max_position_embeddings\"), and longer "
                         "records train positions that it never saw; set it to ",
                         model_.config.max_position_embeddings, " or less"));
  }

  const v1::JobConfig& config_;
  const JobModelOptions& options_;
  const std::string& folder_;
  JobModel& model_;
  bool missing_config_ = false, missing_tokenizer_ = false, missing_weights_ = false;
};

}  // namespace

absl::Status JobModel::status() const {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string messages;
  for (const ModelFinding& finding : findings) {
    if (finding.status.ok()) continue;
    if (code == absl::StatusCode::kOk) code = finding.status.code();
    absl::StrAppend(&messages, messages.empty() ? "" : "; ", finding.message);
  }
  return absl::Status(code, messages);
}

JobModel OpenJobModel(const v1::JobConfig& config, const JobModelOptions& options) {
  JobModel model;
  Opening(config, options, &model).Run();
  return model;
}

}  // namespace trainerd::engine
