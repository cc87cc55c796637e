// SPDX-License-Identifier: Apache-2.0
// For every key of the job file that the worker acts on: two configurations that differ in this key
// alone, and the result that shows the difference.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "tests/engine/train/tiny_run.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine::testing {

// A finished run, and where it ran.
struct DoneRun {
  Ran ran;
  std::string folder;
};

// A result that is compared; the name is for the message.
struct Seen {
  const char* name;
  std::function<std::string(const DoneRun&)> read;
};

// The texts that `of` returns for the events of the attempt.
inline Seen OfEvents(const char* name, std::string (*of)(const v1::Event&)) {
  return {name, [of](const DoneRun& run) {
            std::vector<std::string> found;
            for (const v1::Event& event : run.ran.events.events()) {
              if (std::string text = of(event); !text.empty()) found.push_back(std::move(text));
            }
            return absl::StrJoin(found, " ");
          }};
}

inline std::string LossOf(const v1::Event& event) {
  if (!event.has_metrics()) return "";
  return absl::StrFormat("%d:%.17g", event.metrics().step(), event.metrics().loss());
}

inline std::string LearningRateOf(const v1::Event& event) {
  if (!event.has_metrics()) return "";
  return absl::StrFormat("%d:%.17g", event.metrics().step(), event.metrics().learning_rate());
}

inline std::string SecondLearningRateOf(const v1::Event& event) {
  const auto& rates = event.metrics().learning_rates();
  if (!rates.contains("adamw")) return "";
  return absl::StrFormat("%d:%.17g", event.metrics().step(), rates.at("adamw"));
}

inline std::string StepTokensOf(const v1::Event& event) {
  const v1::Metrics& metrics = event.metrics();
  if (!event.has_metrics()) return "";
  return absl::StrCat(metrics.step(), ":", metrics.tokens(), "/", metrics.target_tokens());
}

inline std::string EvaluationOf(const v1::Event& event) {
  if (!event.has_eval()) return "";
  return absl::StrFormat("%d:%.17g", event.eval().step(), event.eval().loss());
}

inline std::string SampleOf(const v1::Event& event) {
  const v1::SampleText& sample = event.sample();
  if (!event.has_sample()) return "";
  return absl::StrCat(sample.step(), ":", sample.prompt(), "→", sample.output());
}

inline std::string PublishedStepOf(const v1::Event& event) {
  const v1::CheckpointEvent& checkpoint = event.checkpoint();
  if (checkpoint.kind() != v1::CheckpointEvent::PUBLISHED) return "";
  return absl::StrCat(checkpoint.checkpoint().step());
}

inline std::string FindingsOf(const v1::Event& event) {
  std::string codes;
  for (const auto& finding : event.data_report().findings())
    absl::StrAppend(&codes, finding.code(), ",");
  return codes;
}

inline std::string WeightsHash(const DoneRun& run) {
  return FileHash(run.folder + "/final/model.safetensors");
}

inline std::string AdapterHash(const DoneRun& run) {
  return FileHash(run.folder + "/final/adapter_model.safetensors");
}

inline std::string FormOfFinal(const DoneRun& run) {
  std::string form;
  for (const char* name : {"adapter_model.safetensors", "model.safetensors"}) {
    if (std::filesystem::exists(absl::StrCat(run.folder, "/final/", name)))
      absl::StrAppend(&form, name, " ");
  }
  return form;
}

inline std::string FirstStep(const DoneRun& run) {
  return absl::StrCat(run.ran.record.first_step());
}

inline std::string End(const DoneRun& run) {
  return absl::StrCat(v1::Attempt::End_Name(run.ran.record.end()), " ",
                      run.ran.record.error().code());
}

inline std::string CacheEntries(const DoneRun& run) {
  int entries = 0;
  std::error_code none;
  for (const auto& file :
       std::filesystem::recursive_directory_iterator(run.folder + "/../cache", none))
    entries += file.path().extension() == ".tokens" ? 1 : 0;
  return absl::StrCat(entries);
}

inline std::string PublishedFolder(const DoneRun& run) {
  const bool exists = std::filesystem::exists(run.folder + "/../../published/config.json");
  return exists ? "published" : "";
}

inline std::string CheckpointingOf(const v1::Event& event) {
  return event.notice().code() == "ACTIVATION_CHECKPOINTING" ? event.notice().message() : "";
}

inline const Seen kLosses = OfEvents("losses", LossOf);
inline const Seen kCheckpointing = OfEvents("notice of activations", CheckpointingOf);
inline const Seen kRates = OfEvents("learning rates", LearningRateOf);
inline const Seen kSecondRates = OfEvents("learning rates of adamw", SecondLearningRateOf);
inline const Seen kStepTokens = OfEvents("tokens of each step", StepTokensOf);
inline const Seen kWeights{"hash of the final weights", WeightsHash};
inline const Seen kAdapter{"hash of the final adapter", AdapterHash};
inline const Seen kForm{"weights of the final model", FormOfFinal};
inline const Seen kEvaluations = OfEvents("evaluations", EvaluationOf);
inline const Seen kSamples = OfEvents("samples", SampleOf);
inline const Seen kPublished = OfEvents("checkpoints", PublishedStepOf);
inline const Seen kFirstStep{"first step", FirstStep};
inline const Seen kEnd{"end", End};
inline const Seen kFindings = OfEvents("findings of the data report", FindingsOf);
inline const Seen kCacheEntries{"entries of the cache", CacheEntries};
inline const Seen kFolders{"folders beside the run directory", PublishedFolder};

// What the cases change; $DIR is the folder of the inputs.
inline constexpr char kBaseJob[] =
    "model: {path: $DIR/model}\ndata: {train: [{path: $DIR/train.jsonl}], "
    "max_length: 128, packing: none, now: \"2026-01-02 03:04:05\"}\n"
    "train: {precision: fp32, batch_size: 2, gradient_accumulation: 2, epochs: "
    "2}\noptimizer: {learning_rate: 1.0e-2}\nschedule: {type: cosine, "
    "warmup_steps: 1}\ncheckpoint: {every_steps: 0}\n"
    "evaluation: {at_start: false, at_end: false}\nresources: {device: cpu}\n";

// `before` and `after` are YAML over the base job and differ in this key alone; $FIRST and
// $SECOND are checkpoints after step 1 and 2 of another run, $ADAPTER and $OTHER_ADAPTER the final
// adapters of two.
struct Case {
  std::string key;
  std::string before;
  std::string after;
  Seen seen;
};

// One step over $DIR/odd.jsonl, which holds every oddity that data.findings names; more keys of
// `data` follow.
inline constexpr char kOddJob[] =
    "model: {path: $DIR/lossy_model}\ntrain: {max_steps: 2}\ndata: {train: [{path: "
    "$DIR/odd.jsonl}], validation: $DIR/odd_validation.jsonl, packing: bfd_split, max_length: 40";
inline constexpr char kThinkingJob[] =
    "data: {profile: emoji_think, chat_template: $DIR/thinking.jinja";

// The keys of `preference` follow.
inline constexpr char kPairJob[] = "data: {train: [{path: $DIR/pairs.jsonl}]}\npreference: {";

inline constexpr char kWeighted[] = "train: {token_weighting: {}}";

// data.findings: what becomes an error ends the run, and what is ignored is not in the report. By
// default an empty answer is a bad record, which ends the run.
inline void AddFindingCases(std::vector<Case>* cases) {
  const google::protobuf::Descriptor& findings = *v1::FindingsConfig::descriptor();
  for (int i = 0; i < findings.field_count(); ++i) {
    const std::string name(findings.field(i)->name());
    const std::string key = absl::StrCat("data.findings.", name);
    if (name == "empty_answer") {
      for (const char* word : {"warn", "ignore"}) {
        cases->push_back({key, absl::StrCat(kOddJob, "}"),
                          absl::StrCat(kOddJob, ", findings: {", name, ": ", word, "}}"), kEnd});
      }
      continue;
    }
    const std::string job = absl::StrCat(name == "two_thinking_forms" ? kThinkingJob : kOddJob,
                                         ", findings: {empty_answer: warn");
    for (const auto& [word, seen] : {std::pair{"error", kEnd}, std::pair{"ignore", kFindings}}) {
      cases->push_back(
          {key, absl::StrCat(job, "}}"), absl::StrCat(job, ", ", name, ": ", word, "}}"), seen});
    }
  }
}

inline std::vector<Case> DataCases() {
  return {
      {"model.path", "", "model: {path: $DIR/other_model}", kLosses},
      {"data.train[0].path", "", "data: {train: [{path: $DIR/other.jsonl}]}", kLosses},
      {"data.train[0].weight", "", "data: {train: [{weight: 0.5}]}", kStepTokens},
      {"data.validation", "evaluation: {at_start: true}",
       "evaluation: {at_start: true}\ndata: {validation: $DIR/validation.jsonl}", kEvaluations},
      {"data.validation_fraction", "evaluation: {at_start: true}",
       "evaluation: {at_start: true}\ndata: {validation_fraction: 0.25}", kEvaluations},
      {"data.max_length", "", "data: {max_length: 40}", kStepTokens},
      {"data.too_long", "data: {max_length: 40}", "data: {max_length: 40, too_long: skip}",
       kStepTokens},
      {"data.too_long", "data: {max_length: 40}", "data: {max_length: 40, too_long: fail}", kEnd},
      {"data.bad_rows", "data: {train: [{path: $DIR/bad.jsonl}]}",
       "data: {train: [{path: $DIR/bad.jsonl}], bad_rows: skip}", kEnd},
      {"data.packing", "", "data: {packing: bfd}", kStepTokens},
      {"data.packing", "data: {packing: bfd, max_length: 40}",
       "data: {packing: bfd_split, max_length: 40}", kStepTokens},
      {"data.cache", "", "data: {cache: false}", kCacheEntries},
      // Its rows need more than 1 MB.
      {"data.cache_limit", "data: {train: [{path: $DIR/big.jsonl}]}\ntrain: {max_steps: 2}",
       "data: {train: [{path: $DIR/big.jsonl}], cache_limit: 1}\ntrain: {max_steps: 2}",
       kCacheEntries},
      {"data.shuffle", "", "data: {shuffle: false}", kLosses},
      {"data.profile", "", "data: {profile: emoji_think}", kStepTokens},
      {"data.profile", "", "data: {profile: regime3}", kStepTokens},
      {"data.system_prompt", "", "data: {system_prompt: Be brief.}", kStepTokens},
      {"data.chat_template", "", "data: {chat_template: $DIR/other.jinja}", kStepTokens},
      {"data.chat_template", "data: {chat_template: $DIR/other.jinja}",
       "data: {chat_template: chatml}", kStepTokens},
      {"data.train_on", "", "data: {train_on: last_assistant}", kStepTokens},
      {"data.train_on", "", "data: {train_on: all}", kStepTokens},
      {"data.train_on", "data: {chat_template: $DIR/marked.jinja}",
       "data: {chat_template: $DIR/marked.jinja, train_on: template}", kStepTokens},
      {"data.now", "data: {chat_template: $DIR/dated.jinja}",
       "data: {chat_template: $DIR/dated.jinja, now: \"2031-12-24 03:04:05\"}", kLosses},
      {"data.control_tokens", "", "data: {control_tokens: as_text}", kStepTokens},
      {"data.control_tokens", "", "data: {control_tokens: error}", kEnd},
  };
}

inline std::vector<Case> LossCases() {
  return {
      {"preference.loss", absl::StrCat(kPairJob, "}"), absl::StrCat(kPairJob, "loss: ipo}"),
       kLosses},
      {"preference.beta", absl::StrCat(kPairJob, "}"), absl::StrCat(kPairJob, "beta: 0.5}"),
       kLosses},
      // It changes no number: its notice states the memory.
      {"train.activation_checkpointing", "", "train: {activation_checkpointing: selective}",
       kCheckpointing},
      {"train.activation_checkpointing", "", "train: {activation_checkpointing: full}",
       kCheckpointing},
      {"train.label_smoothing", "", "train: {label_smoothing: 0.1}", kLosses},
      {"train.token_weighting.measure", kWeighted,
       "train: {token_weighting: {measure: confidence}}", kLosses},
      {"train.token_weighting.measure", kWeighted,
       "train: {token_weighting: {measure: perplexity}}", kLosses},
      {"train.token_weighting.measure", kWeighted, "train: {token_weighting: {measure: margin}}",
       kLosses},
      {"train.token_weighting.normalize", kWeighted, "train: {token_weighting: {normalize: false}}",
       kLosses},
      {"train.token_weighting.min_weight", kWeighted, "train: {token_weighting: {min_weight: 0.5}}",
       kLosses},
      {"train.token_weighting.max_weight", kWeighted, "train: {token_weighting: {max_weight: 2}}",
       kLosses},
  };
}

inline std::vector<Case> OptimizerCases() {
  return {
      {"optimizer.type", "", "optimizer: {type: sgd}", kWeights},
      {"optimizer.momentum", "optimizer: {type: sgd}", "optimizer: {type: sgd, momentum: 0.9}",
       kWeights},
      {"optimizer.nesterov", "optimizer: {type: sgd, momentum: 0.9}",
       "optimizer: {type: sgd, momentum: 0.9, nesterov: true}", kWeights},
      {"optimizer.type", "", "optimizer: {type: muon}", kWeights},
      {"optimizer.type", "", "optimizer: {type: adamw_8bit}", kWeights},
      {"optimizer.momentum", "optimizer: {type: muon}", "optimizer: {type: muon, momentum: 0.5}",
       kWeights},
      {"optimizer.nesterov", "optimizer: {type: muon}", "optimizer: {type: muon, nesterov: false}",
       kWeights},
      {"optimizer.newton_schulz_steps", "optimizer: {type: muon}",
       "optimizer: {type: muon, newton_schulz_steps: 3}", kWeights},
      {"optimizer.newton_schulz_precision", "optimizer: {type: muon}",
       "optimizer: {type: muon, newton_schulz_precision: fp32}", kWeights},
      {"optimizer.adjust_learning_rate", "optimizer: {type: muon}",
       "optimizer: {type: muon, adjust_learning_rate: match_rms_adamw}", kWeights},
      {"optimizer.adamw.learning_rate", "optimizer: {type: muon}",
       "optimizer: {type: muon, adamw: {learning_rate: 1.0e-2}}", kSecondRates},
      {"optimizer.adamw.betas", "optimizer: {type: muon}",
       "optimizer: {type: muon, adamw: {betas: [0.8, 0.99]}}", kWeights},
      {"optimizer.adamw.eps", "optimizer: {type: muon}",
       "optimizer: {type: muon, adamw: {eps: 1.0e-3}}", kWeights},
      {"optimizer.adamw.weight_decay", "optimizer: {type: muon}",
       "optimizer: {type: muon, adamw: {weight_decay: 0.5}}", kWeights},
      {"optimizer.learning_rate", "", "optimizer: {learning_rate: 2.0e-3}", kWeights},
      {"optimizer.betas", "", "optimizer: {betas: [0.8, 0.99]}", kWeights},
      {"optimizer.eps", "", "optimizer: {eps: 1.0e-3}", kWeights},
      {"optimizer.weight_decay", "", "optimizer: {weight_decay: 0.5}", kWeights},
      {"optimizer.decay_norms", "optimizer: {weight_decay: 0.5}",
       "optimizer: {weight_decay: 0.5, decay_norms: true}", kWeights},
  };
}

inline std::vector<Case> TrainCases() {
  return {
      {"train.precision", "", "train: {precision: bf16}", kLosses},
      {"train.precision", "train: {precision: bf16}", "train: {precision: bf16_sr}", kLosses},
      {"train.batch_size", "", "train: {batch_size: 3}", kStepTokens},
      {"train.gradient_accumulation", "", "train: {gradient_accumulation: 1}", kStepTokens},
      {"train.epochs", "", "train: {epochs: 1.5}", kStepTokens},
      {"train.max_steps", "", "train: {max_steps: 3}", kStepTokens},
      {"train.max_grad_norm", "", "train: {max_grad_norm: 0.05}", kWeights},
      {"train.seed", "", "train: {seed: 43}", kLosses},
      {"train.freeze", "", "train: {freeze: [model.embed_tokens.*]}", kWeights},
      {"schedule.type", "", "schedule: {type: linear}", kRates},
      {"schedule.type", "", "schedule: {type: constant}", kRates},
      {"schedule.type", "", "schedule: {type: inverse_sqrt}", kRates},
      {"schedule.type", "", "schedule: {type: polynomial}", kRates},
      {"schedule.type", "schedule: {type: cosine}",
       "schedule: {type: warmup_stable_decay, decay_steps: 3}", kRates},
      {"schedule.warmup_steps", "", "schedule: {warmup_steps: 4}", kRates},
      {"schedule.min_ratio", "", "schedule: {min_ratio: 0.5}", kRates},
      {"schedule.decay_steps", "schedule: {type: warmup_stable_decay, decay_steps: 2}",
       "schedule: {type: warmup_stable_decay, decay_steps: 4}", kRates},
      {"schedule.decay_shape", "schedule: {type: warmup_stable_decay, decay_steps: 4}",
       "schedule: {type: warmup_stable_decay, decay_steps: 4, decay_shape: linear}", kRates},
      {"schedule.decay_shape", "schedule: {type: warmup_stable_decay, decay_steps: 4}",
       "schedule: {type: warmup_stable_decay, decay_steps: 4, decay_shape: one_minus_sqrt}",
       kRates},
      {"schedule.power", "schedule: {type: polynomial}", "schedule: {type: polynomial, power: 2}",
       kRates},
      {"schedule.timescale", "schedule: {type: inverse_sqrt}",
       "schedule: {type: inverse_sqrt, timescale: 7}", kRates},
      {"evaluation.every_steps", "data: {validation: $DIR/validation.jsonl}",
       "data: {validation: $DIR/validation.jsonl}\nevaluation: {every_steps: 2}", kEvaluations},
      {"evaluation.at_start", "data: {validation: $DIR/validation.jsonl}",
       "data: {validation: $DIR/validation.jsonl}\nevaluation: {at_start: true}", kEvaluations},
      {"evaluation.at_end", "data: {validation: $DIR/validation.jsonl}",
       "data: {validation: $DIR/validation.jsonl}\nevaluation: {at_end: true}", kEvaluations},
      {"samples.every_steps", "samples: {prompts: $DIR/prompts.jsonl, max_tokens: 3}",
       "samples: {prompts: $DIR/prompts.jsonl, max_tokens: 3, every_steps: 2}", kSamples},
      {"samples.prompts", "samples: {prompts: $DIR/prompts.jsonl, max_tokens: 3}",
       "samples: {prompts: $DIR/other_prompts.jsonl, max_tokens: 3}", kSamples},
      {"samples.max_tokens", "samples: {prompts: $DIR/prompts.jsonl, max_tokens: 3}",
       "samples: {prompts: $DIR/prompts.jsonl, max_tokens: 2}", kSamples},
      {"checkpoint.every_steps", "", "checkpoint: {every_steps: 2}", kPublished},
      {"output.path", "output: {path: $DIR/elsewhere}", "output: {path: $DIR/published}", kFolders},
      {"init_from.checkpoint", "init_from: {checkpoint: $FIRST}",
       "init_from: {checkpoint: $SECOND}", kFirstStep},
      {"init_from.state", "init_from: {checkpoint: $FIRST}",
       "init_from: {checkpoint: $FIRST, state: weights}", kFirstStep},
  };
}

inline std::vector<Case> LoraCases() {
  return {
      {"lora.r", "lora: {}", "lora: {r: 4}", kAdapter},
      {"lora.alpha", "lora: {}", "lora: {alpha: 32}", kAdapter},
      {"lora.dropout", "lora: {}", "lora: {dropout: 0.5}", kAdapter},
      {"lora.rslora", "lora: {}", "lora: {rslora: true}", kAdapter},
      {"lora.target_modules", "lora: {}", "lora: {target_modules: [q_proj]}", kAdapter},
      {"lora.adapter_path", "lora: {adapter_path: $ADAPTER}",
       "lora: {adapter_path: $OTHER_ADAPTER}", kLosses},
      {"model.quantization", "lora: {}", "model: {quantization: nf4}\nlora: {}", kLosses},
      {"output.form", "lora: {}", "lora: {}\noutput: {form: merged}", kForm},
      {"output.form", "lora: {}\noutput: {form: merged}", "lora: {}\noutput: {form: adapter}",
       kForm},
  };
}

inline std::vector<Case> AllCases() {
  std::vector<Case> cases = DataCases();
  for (Case& c : LoraCases()) cases.push_back(std::move(c));
  for (Case& c : TrainCases()) cases.push_back(std::move(c));
  for (Case& c : OptimizerCases()) cases.push_back(std::move(c));
  for (Case& c : LossCases()) cases.push_back(std::move(c));
  AddFindingCases(&cases);
  return cases;
}

}  // namespace trainerd::engine::testing
