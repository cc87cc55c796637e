// SPDX-License-Identifier: Apache-2.0
// Rules that concern more than one field, or the form of a text; what one field's knob says is
// checked in knob_rules.cc.
#include "proto/contract/config/rules/job_config_rules.h"

#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/config_digest.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/config/knob_rules.h"
#include "proto/contract/config/rules/access_rules.h"
#include "proto/contract/config/rules/best_rules.h"
#include "proto/contract/config/rules/config_limits.h"
#include "proto/contract/config/rules/job_wait_rules.h"
#include "proto/contract/config/rules/label_rules.h"
#include "proto/contract/config/rules/notify_rules.h"
#include "proto/contract/config/rules/remote_evaluation_rules.h"

namespace trainerd {
namespace {

using Violations = std::vector<ConfigViolation>;

constexpr char kNowFormat[] = "%Y-%m-%d %H:%M:%S";
constexpr size_t kMaxNameBytes = 200;

// Folders that others made can have any other name.
bool IsPathText(const std::string& text) {
  return text.size() <= kMaxPathBytes &&
         std::none_of(text.begin(), text.end(),
                      [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

void CheckName(const v1::JobConfig& config, Violations* violations) {
  if (config.name().empty()) {
    violations->push_back({"name", "is empty; leave it out for the job file's name"});
  } else if (config.name().size() > kMaxNameBytes || HasControlCharacter(config.name())) {
    violations->push_back(
        {"name", absl::StrCat(Quoted(config.name()), " is not a name of up to ", kMaxNameBytes,
                              " bytes without control characters")});
  }
}

void CheckPathText(const KeyPath& path, const std::string& value, Violations* violations) {
  if (value.empty())
    violations->push_back({path.Text(), "is empty; give a path or leave the key out"});
  if (!IsPathText(value)) {
    violations->push_back(
        {path.Text(), absl::StrCat(Quoted(value), " is not a path of up to ", kMaxPathBytes,
                                   " bytes without control characters")});
  }
}

// Every given path is a usable text; by reflection, so that a new path field is covered.
void CheckPathTexts(const google::protobuf::Message& message, Violations* violations) {
  ForEachText(message, [&](const TextPlace& place) {
    if (!KnobOf(place.field).path()) return;
    std::string scratch;
    CheckPathText(place.path, place.Value(&scratch), violations);
  });
}

void CheckData(const v1::DataConfig& data, Violations* violations) {
  std::set<std::string> seen;
  for (int i = 0; i < data.train_size(); ++i) {
    const std::string& path = data.train(i).path();
    if (path.empty() || seen.insert(path).second) continue;
    violations->push_back(
        {absl::StrCat("data.train[", i, "].path"),
         absl::StrCat(Quoted(path),
                      " is listed twice; use weight to see a file's examples more often")});
  }
  if (data.has_validation() && data.validation_fraction() > 0) {
    violations->push_back({"data.validation_fraction",
                           "cannot be given together with data.validation; leave one of them out"});
  }
  if (SplitsLongExamples(data.packing()) && data.too_long() != v1::DataConfig::TOO_LONG_TRUNCATE) {
    violations->push_back(
        {"data.too_long",
         absl::StrCat(Quoted(EnumText(data.too_long())),
                      " does not apply with data.packing: bfd_split, which lets long conversations "
                      "continue in further rows; leave it out, or set packing: bfd")});
  }
  const std::string& chat_template = data.chat_template();
  if (chat_template != "model" && chat_template != "chatml" &&
      !absl::EndsWith(chat_template, ".jinja")) {
    violations->push_back(
        {"data.chat_template", absl::StrCat(Quoted(chat_template),
                                            " is not model, chatml or the path of a .jinja file")});
  }
}

// What data.* cannot be combined with preference.
void CheckPreferenceData(const v1::JobConfig& config, Violations* violations) {
  if (!config.has_preference()) return;
  const v1::DataConfig& data = config.data();
  if (data.train_on() != v1::DataConfig::TRAIN_ON_ASSISTANT) {
    violations->push_back(
        {"data.train_on",
         absl::StrCat(Quoted(EnumText(data.train_on())),
                      " does not apply with preference, where the answers alone count, as wholes; "
                      "leave it out")});
  }
  if (data.profile() != v1::DataConfig::PROFILE_NONE) {
    violations->push_back({"data.profile", absl::StrCat(Quoted(EnumText(data.profile())),
                                                        " does not apply with preference, because "
                                                        "it changes conversations, not pairs of "
                                                        "answers; leave it out")});
  }
  if (SplitsLongExamples(data.packing())) {
    violations->push_back({"data.packing",
                           "\"bfd_split\" does not apply with preference, because an answer cannot "
                           "be compared in pieces; set packing: bfd or none"});
  }
}

// What train.* cannot be combined with preference.
void CheckPreferenceLoss(const v1::JobConfig& config, Violations* violations) {
  if (!config.has_preference()) return;
  constexpr char kReason[] =
      "does not apply with preference, whose loss compares whole answers; remove it";
  if (config.train().label_smoothing() > 0)
    violations->push_back({"train.label_smoothing", kReason});
  if (config.train().has_token_weighting())
    violations->push_back({"train.token_weighting", kReason});
}

// data.now as a time; nullopt when it does not have the form.
std::optional<absl::Time> ParseNow(const std::string& text) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(kNowFormat, text, absl::UTCTimeZone(), &time, &error)) return std::nullopt;
  // ParseTime also takes other spellings (one digit for the month, spaces at the ends).
  if (absl::FormatTime(kNowFormat, time, absl::UTCTimeZone()) != text) return std::nullopt;
  return time;
}

void ResolveMoment(const ResolveOptions& options, v1::DataConfig* data, Violations* violations) {
  if (!data->has_now())
    data->set_now(absl::FormatTime(kNowFormat, options.now, absl::UTCTimeZone()));
  const std::optional<absl::Time> now = ParseNow(data->now());
  if (!now.has_value()) {
    violations->push_back(
        {"data.now",
         absl::StrCat(Quoted(data->now()), " is not a time; write YYYY-MM-DD HH:MM:SS (UTC)")});
    return;
  }
  // Only this placeholder: other braces of a prompt are text.
  const std::string date = absl::FormatTime("%Y-%m-%d", *now, absl::UTCTimeZone());
  data->set_system_prompt(absl::StrReplaceAll(data->system_prompt(), {{"{date}", date}}));
}

// What train.epochs gives is only known with the data (engine/data/warm_up.h).
void CheckSchedule(const v1::JobConfig& config, Violations* violations) {
  const v1::ScheduleConfig& schedule = config.schedule();
  const int64_t warmup = schedule.warmup_steps(), decay = schedule.decay_steps();
  if (schedule.type() == v1::ScheduleConfig::TYPE_WARMUP_STABLE_DECAY && decay == 0) {
    violations->push_back(
        {"schedule.decay_steps",
         "is required with type: warmup_stable_decay; give the number of steps of "
         "the decay at the end"});
  }
  if (!config.train().has_max_steps()) return;
  const int64_t max_steps = config.train().max_steps();
  if (warmup > 0 && warmup >= max_steps) {
    violations->push_back(
        {"schedule.warmup_steps",
         absl::StrCat(Counted(warmup, "step"), " of warm-up do not end before train.max_steps ",
                      max_steps, "; lower it or raise max_steps")});
  } else if (warmup + decay > max_steps) {
    violations->push_back({"schedule.decay_steps",
                           absl::StrCat(Counted(decay, "step"), " of decay and ", warmup,
                                        " of warm-up do not fit into train.max_steps ", max_steps,
                                        "; lower one of them or raise max_steps")});
  }
}

void CheckBetas(const google::protobuf::RepeatedField<double>& betas, const std::string& path,
                const char* optimizer, const char* example, Violations* violations) {
  constexpr int kBetas = 2;
  if (betas.size() == kBetas) return;
  violations->push_back({path, absl::StrCat(optimizer, " takes 2 values, for example ", example,
                                            "; found ", betas.size())});
}

// `given`: before the defaults were filled in.
void CheckOptimizer(const v1::OptimizerConfig& optimizer, const v1::OptimizerConfig& given,
                    Violations* violations) {
  const bool is_muon = optimizer.type() == v1::OptimizerConfig::TYPE_MUON;
  if (is_muon) {
    CheckBetas(optimizer.adamw().betas(), "optimizer.adamw.betas", "adamw", "[0.9, 0.95]",
               violations);
  } else if (optimizer.type() == v1::OptimizerConfig::TYPE_ADAMW ||
             optimizer.type() == v1::OptimizerConfig::TYPE_ADAMW_8BIT) {
    CheckBetas(optimizer.betas(), "optimizer.betas", EnumText(optimizer.type()).c_str(),
               "[0.9, 0.999]", violations);
  }
  if (is_muon && !given.has_learning_rate()) {
    violations->push_back(
        {"optimizer.learning_rate",
         "is required with type: muon, because the default 2e-5 suits AdamW only; give for example "
         "1e-3, or with adjust_learning_rate: match_rms_adamw a rate that suits AdamW"});
  }
  if (optimizer.nesterov() && optimizer.momentum() == 0) {
    violations->push_back(
        {"optimizer.nesterov",
         is_muon ? "requires a momentum above 0; raise optimizer.momentum or set nesterov: false"
                 : "requires a momentum above 0; set optimizer.momentum or remove it"});
  }
}

void CheckTraining(const v1::JobConfig& config, Violations* violations) {
  for (int i = 0; i < config.train().freeze_size(); ++i) {
    if (!config.train().freeze(i).empty()) continue;
    violations->push_back({absl::StrCat("train.freeze[", i, "]"),
                           "is empty; give a pattern such as model.embed_tokens.*, or remove it"});
  }
  const v1::TokenWeightingConfig& weighting = config.train().token_weighting();
  if (weighting.min_weight() > weighting.max_weight()) {
    violations->push_back(
        {"train.token_weighting.min_weight",
         absl::StrCat(FormatNumber(weighting.min_weight()), " is above max_weight ",
                      FormatNumber(weighting.max_weight()), "; lower it or raise max_weight")});
  }
  CheckSchedule(config, violations);
  const bool has_validation =
      config.data().has_validation() || config.data().validation_fraction() > 0;
  if (config.evaluation().every_steps() > 0 && !has_validation) {
    violations->push_back({"evaluation.every_steps",
                           "needs validation data; give data.validation or "
                           "data.validation_fraction, or leave it out"});
  }
  if (config.has_samples() && !config.samples().has_prompts()) {
    violations->push_back({"samples.prompts",
                           "samples.prompts is required where samples is given; name a file of "
                           "prompts or leave samples out"});
  }
}

// `given` is the configuration before its defaults were filled in.
void ResolveLora(const v1::JobConfig& given, v1::JobConfig* config, Violations* violations) {
  if (!given.has_lora()) {
    if (given.output().has_form()) {
      violations->push_back(
          {"output.form", "applies only to a job with lora; remove it, or add lora"});
    }
    if (given.model().quantization() == v1::ModelConfig::QUANTIZATION_NF4) {
      violations->push_back({"model.quantization",
                             "nf4 applies only to weights that do not train, so it needs lora; add "
                             "lora: {}, or remove it"});
    }
    return;
  }
  if (!given.output().has_form())
    config->mutable_output()->set_form(v1::OutputConfig::FORM_ADAPTER);
  if (given.train().freeze_size() > 0) {
    violations->push_back({"train.freeze",
                           "does not apply with lora, where all weights of the model are frozen; "
                           "remove it, and choose the layers with lora.target_modules"});
  }
  if (config->train().precision() == v1::TrainConfig::PRECISION_BF16_SR) {
    violations->push_back({"train.precision",
                           "bf16_sr saves memory only where the whole model trains; with lora, set "
                           "bf16, whose fp32 copy is of the adapter alone"});
  }
  if (!given.lora().has_adapter_path()) return;
  for (const char* key : {"r", "alpha", "rslora", "target_modules"}) {
    const google::protobuf::FieldDescriptor* field =
        v1::LoraConfig::descriptor()->FindFieldByName(key);
    config->mutable_lora()->GetReflection()->ClearField(config->mutable_lora(), field);
    const bool is_given = field->is_repeated()
                              ? given.lora().target_modules_size() > 0
                              : given.lora().GetReflection()->HasField(given.lora(), field);
    if (!is_given) continue;
    violations->push_back(
        {absl::StrCat("lora.", key),
         absl::StrCat("cannot be given together with lora.adapter_path, whose adapter_config.json "
                      "has it; remove it")});
  }
}

// The daemon, which knows the form of ids, is stricter.
bool IsResourceName(const std::string& text) {
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, "jobs/") || rest.empty()) return false;
  const size_t slash = rest.find('/');
  if (slash == absl::string_view::npos) return true;
  const bool has_job = slash > 0;
  rest.remove_prefix(slash);
  return has_job && absl::ConsumePrefix(&rest, "/checkpoints/") && !rest.empty() &&
         !absl::StrContains(rest, '/');
}

void CheckInitFrom(const v1::JobConfig& config, Violations* violations) {
  if (!config.has_init_from() || !config.init_from().has_checkpoint()) return;
  const std::string& checkpoint = config.init_from().checkpoint();
  const bool is_path = absl::StartsWith(checkpoint, "/") || absl::StartsWith(checkpoint, "./") ||
                       absl::StartsWith(checkpoint, "../");
  if (IsResourceName(checkpoint) || (is_path && IsPathText(checkpoint))) return;
  violations->push_back(
      {"init_from.checkpoint",
       absl::StrCat(
           Quoted(checkpoint),
           " is neither jobs/ID, jobs/ID/checkpoints/ID nor a path; write a relative path as ./",
           "PATH")});
}

void CheckDevice(const v1::JobConfig& config, Violations* violations) {
  const std::string& device = config.resources().device();
  absl::string_view index = device;
  constexpr size_t kMaxDeviceDigits = 4;
  if (absl::StartsWith(device, "cuda:") &&
      config.train().precision() == v1::TrainConfig::PRECISION_BF16_SR) {
    violations->push_back({"train.precision",
                           "bf16_sr computes on the CPU only; set resources.device: cpu, or "
                           "precision: bf16"});
  }
  if (device == "auto" || device == "cpu" ||
      (absl::ConsumePrefix(&index, "cuda:") && IsAllDigits(index, kMaxDeviceDigits)))
    return;
  violations->push_back(
      {"resources.device",
       absl::StrCat(Quoted(device), " is not auto, cpu or cuda:N, for example cuda:0")});
}

}  // namespace

v1::ResolvedJobConfig ResolveJobConfig(const v1::JobConfig& config, const ResolveOptions& options,
                                       Violations* violations) {
  v1::ResolvedJobConfig resolved;
  CheckUnknownFields(config, violations);
  const size_t before = violations->size();
  CheckConfigSize(config, violations);
  if (violations->size() > before) return resolved;
  for (std::string& path : FieldPaths(config)) resolved.add_given(std::move(path));
  v1::JobConfig& result = *resolved.mutable_config();
  result = config;
  ApplyDefaults(&result);
  ResolveLora(config, &result, violations);
  ResolveBest(&result);
  if (!result.has_name()) result.set_name(options.default_name);
  ResolveMoment(options, result.mutable_data(), violations);
  CheckKnobs(result, violations);
  CheckName(result, violations);
  CheckLabels(result.labels(), violations);
  CheckPathTexts(result, violations);
  CheckTextSizes(result, violations);
  // The defaults count too: another job may start from this configuration.
  CheckConfigSize(result, violations);
  CheckData(result.data(), violations);
  CheckPreferenceData(result, violations);
  CheckPreferenceLoss(result, violations);
  CheckOptimizer(result.optimizer(), config.optimizer(), violations);
  CheckTraining(result, violations);
  CheckInitFrom(result, violations);
  CheckDevice(result, violations);
  CheckWaits(result, violations);
  CheckBest(result, violations);
  CheckNotify(result, violations);
  CheckRemoteEvaluations(result, violations);
  resolved.set_config_digest(ConfigDigest(result));
  return resolved;
}

v1::ServerConfig ResolveServerConfig(const v1::ServerConfig& config, Violations* violations) {
  v1::ServerConfig result = config;
  ApplyDefaults(&result);
  CheckKnobs(result, violations);
  CheckPathTexts(result, violations);
  CheckAccess(result, violations);
  CheckNotifyTargets(result, violations);
  const auto& first = result.retry_backoff();
  const auto& longest = result.retry_backoff_max();
  if (std::make_pair(first.seconds(), first.nanos()) >
      std::make_pair(longest.seconds(), longest.nanos())) {
    violations->push_back(
        {"retry_backoff", "is longer than retry_backoff_max; lower it or raise the other"});
  }
  return result;
}

}  // namespace trainerd
