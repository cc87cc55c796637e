// SPDX-License-Identifier: Apache-2.0
// Expectations: one configuration for each rule, and the message that people read.
#include "proto/contract/config/rules/job_config_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/message_differencer.h"
#include "proto/contract/config/config_digest.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kMinimal[] = "model: {path: /m}\ndata: {train: [/a.jsonl]}\n";
const absl::Time kNow = absl::FromUnixSeconds(1767323045);  // 2026-01-02 03:04:05 UTC

struct Result {
  v1::ResolvedJobConfig resolved;
  std::string faults;
};

Result Resolve(const std::string& yaml) {
  v1::JobConfig config;
  const YamlResult read = YamlToMessage(yaml, &config);
  std::vector<ConfigViolation> violations = read.violations;
  Result result;
  result.resolved = ResolveJobConfig(config, {.now = kNow, .default_name = "file"}, &violations);
  AttachLines(read.lines, &violations);
  result.faults = ViolationsText(violations);
  return result;
}

// Faults of the minimal job with more keys; the minimal one has two lines.
std::string FaultsWith(const std::string& yaml) { return Resolve(kMinimal + yaml).faults; }
std::string FaultsWithData(const std::string& keys) {
  return Resolve("model: {path: /m}\ndata: {train: [/a.jsonl], " + keys + "}\n").faults;
}

TEST(ResolveJobConfigTest, FillsInDefaultsAndSaysWhatWasGiven) {
  const Result result = Resolve(std::string(kMinimal) + "train: {max_steps: 20}\n");
  EXPECT_EQ(result.faults, "");
  const v1::JobConfig& config = result.resolved.config();
  EXPECT_THAT(result.resolved.given(),
              ElementsAre("model.path", "data.train[0].path", "train.max_steps"));
  EXPECT_EQ(config.name(), "file");
  EXPECT_EQ(config.data().max_length(), 2048);
  EXPECT_EQ(config.data().train(0).weight(), 1);
  EXPECT_EQ(config.data().now(), "2026-01-02 03:04:05");
  EXPECT_EQ(config.train().max_steps(), 20);
  EXPECT_EQ(config.train().precision(), v1::TrainConfig::PRECISION_BF16);
  EXPECT_THAT(config.optimizer().betas(), ElementsAre(0.9, 0.999));
  EXPECT_EQ(config.limits().stop_grace().seconds(), 300);
  EXPECT_EQ(config.checkpoint().keep_last(), 3);
  EXPECT_FALSE(config.has_samples());
  EXPECT_FALSE(config.has_init_from());
  EXPECT_FALSE(config.has_output());
  EXPECT_EQ(result.resolved.config_digest().size(), 32u);
  EXPECT_EQ(result.resolved.config_digest(), ConfigDigest(config));
}

TEST(ResolveJobConfigTest, ResolvingAgainChangesNothing) {
  const v1::ResolvedJobConfig first = Resolve(
                                          "model: {path: /m}\ndata: {train: /a, system_prompt: "
                                          "\"on {date}\"}\nsamples: {prompts: /p}\n")
                                          .resolved;
  std::vector<ConfigViolation> violations;
  const v1::ResolvedJobConfig second =
      ResolveJobConfig(first.config(), {.now = kNow + absl::Hours(48)}, &violations);
  EXPECT_TRUE(violations.empty());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(first.config(), second.config()));
  EXPECT_EQ(first.config_digest(), second.config_digest());
}

TEST(ResolveJobConfigTest, DateIsResolvedOnceAndOtherBracesStay) {
  EXPECT_EQ(
      Resolve("model: {path: /m}\ndata: {train: /a, system_prompt: \"{date} {x} {{date}} {}\"}\n")
          .resolved.config()
          .data()
          .system_prompt(),
      "2026-01-02 {x} {2026-01-02} {}");
  EXPECT_EQ(Resolve("model: {path: /m}\ndata: {train: /a, now: \"2030-12-31 23:59:59\", "
                    "system_prompt: \"{date}\"}\n")
                .resolved.config()
                .data()
                .system_prompt(),
            "2030-12-31");
  EXPECT_THAT(FaultsWithData("now: \"2030-13-01 00:00:00\""),
              HasSubstr("line 2: data.now: \"2030-13-01 00:00:00\" is not a time; write YYYY-MM-DD "
                        "HH:MM:SS (UTC)"));
  EXPECT_THAT(FaultsWithData("now: yesterday"), HasSubstr("is not a time"));
  EXPECT_THAT(FaultsWithData("now: \" 2030-1-01 00:00:00\""), HasSubstr("is not a time"));
}

TEST(ResolveJobConfigTest, AllFaultsAtOnceWithTheirLines) {
  EXPECT_EQ(
      Resolve("model: {}\ndata:\n  train: [a]\n  max_length: 4\ntrain:\n  batch_size: 0\n").faults,
      "line 1: model.path is required\n"
      "line 4: data.max_length: 4 is out of range; allowed: 8 to 1048576 tokens\n"
      "line 6: train.batch_size: 0 is out of range; allowed: 1 to 65536 sequences");
}

TEST(ResolveJobConfigTest, ValidationComesFromOnePlace) {
  EXPECT_EQ(FaultsWithData("validation: /v, validation_fraction: 0.1"),
            "line 2: data.validation_fraction: cannot be given together with data.validation; "
            "leave one of them out");
  EXPECT_EQ(FaultsWithData("validation: /v, validation_fraction: 0"), "");
  EXPECT_EQ(FaultsWithData("validation_fraction: 0.1"), "");
  EXPECT_EQ(FaultsWith("evaluation: {every_steps: 5}\n"),
            "line 3: evaluation.every_steps: needs validation data; give data.validation or "
            "data.validation_fraction, or leave it out");
  EXPECT_EQ(Resolve("model: {path: /m}\ndata: {train: /a, validation_fraction: 0.1}\nevaluation: "
                    "{every_steps: 5}\n")
                .faults,
            "");
}

TEST(ResolveJobConfigTest, SourcesAreGivenAndDistinct) {
  EXPECT_EQ(Resolve("model: {path: /m}\ndata: {train: []}\n").faults,
            "line 2: data.train is required");
  EXPECT_EQ(Resolve("model: {path: /m}\ndata: {train: [{weight: 2}]}\n").faults,
            "line 2: data.train[0].path is required");
  EXPECT_EQ(Resolve("model: {path: /m}\ndata: {train: [/a, /b, /a]}\n").faults,
            "line 2: data.train[2].path: \"/a\" is listed twice; use weight to see a file's "
            "examples more often");
  EXPECT_EQ(Resolve("model: {path: \"\"}\ndata: {train: [/a]}\n").faults,
            "line 1: model.path: is empty; give a path or leave the key out");
  EXPECT_THAT(Resolve("model: {path: \"a\\nb\"}\ndata: {train: [/a]}\n").faults,
              HasSubstr("without control characters"));
}

TEST(ResolveJobConfigTest, FillsInAndRefusesKeysByOptimizerType) {
  const v1::OptimizerConfig sgd =
      Resolve(std::string(kMinimal) + "optimizer: {type: sgd}\n").resolved.config().optimizer();
  EXPECT_TRUE(sgd.has_momentum() && sgd.has_nesterov());
  EXPECT_EQ(sgd.momentum(), 0.0);
  EXPECT_EQ(sgd.betas_size(), 0);
  EXPECT_FALSE(sgd.has_eps());
  const v1::OptimizerConfig adamw = Resolve(kMinimal).resolved.config().optimizer();
  EXPECT_FALSE(adamw.has_momentum() || adamw.has_nesterov());
  EXPECT_EQ(FaultsWith("optimizer: {momentum: 0.9}\n"),
            "line 3: optimizer.momentum: applies only with type: sgd or type: muon; remove it");
  EXPECT_EQ(FaultsWith("optimizer: {nesterov: true, momentum: 0.5}\n"),
            "line 3: optimizer.momentum: applies only with type: sgd or type: muon; remove it\n"
            "line 3: optimizer.nesterov: applies only with type: sgd or type: muon; remove it");
  EXPECT_EQ(FaultsWith("optimizer: {type: sgd, eps: 1.0e-6}\n"),
            "line 3: optimizer.eps: applies only with type: adamw or type: adamw_8bit; remove it");
  EXPECT_EQ(FaultsWith("optimizer: {type: sgd, nesterov: true}\n"),
            "line 3: optimizer.nesterov: requires a momentum above 0; set optimizer.momentum or "
            "remove it");
  EXPECT_EQ(FaultsWith("train: {freeze: [\"\"]}\n"),
            "line 3: train.freeze[0]: is empty; give a pattern such as model.embed_tokens.*, or "
            "remove it");
}

TEST(ResolveJobConfigTest, FillsInFormOnlyWithLora) {
  const std::string minimal = kMinimal;
  const v1::JobConfig lora = Resolve(minimal + "lora: {}\n").resolved.config();
  EXPECT_EQ(lora.lora().r(), 8);
  EXPECT_EQ(lora.lora().alpha(), 16);
  EXPECT_EQ(lora.lora().dropout(), 0);
  EXPECT_FALSE(lora.lora().rslora());
  EXPECT_EQ(lora.output().form(), v1::OutputConfig::FORM_ADAPTER);
  EXPECT_EQ(
      Resolve(minimal + "lora: {}\noutput: {form: merged}\n").resolved.config().output().form(),
      v1::OutputConfig::FORM_MERGED);
  EXPECT_FALSE(Resolve(kMinimal).resolved.config().has_output());
  EXPECT_EQ(FaultsWith("output: {form: adapter}\n"),
            "line 3: output.form: applies only to a job with lora; remove it, or add lora");
  EXPECT_EQ(FaultsWith("output: {path: /o, form: merged}\n"),
            "line 3: output.form: applies only to a job with lora; remove it, or add lora");
}

TEST(ResolveJobConfigTest, RefusesKeysThatAnAdapterFolderHas) {
  const Result result = Resolve(std::string(kMinimal) + "lora: {adapter_path: /a, dropout: 0.1}\n");
  EXPECT_EQ(result.faults, "");
  const v1::LoraConfig& lora = result.resolved.config().lora();
  EXPECT_FALSE(lora.has_r() || lora.has_alpha() || lora.has_rslora());
  EXPECT_EQ(lora.dropout(), 0.1);
  std::vector<ConfigViolation> violations;
  const v1::JobConfig again =
      ResolveJobConfig(result.resolved.config(), {.now = kNow}, &violations).config();
  EXPECT_TRUE(violations.empty()) << ViolationsText(violations);
  EXPECT_FALSE(again.lora().has_r());
  for (const char* key : {"r: 8", "alpha: 16", "rslora: false", "target_modules: [q_proj]"}) {
    const std::string name = std::string(key).substr(0, std::string(key).find(':'));
    EXPECT_EQ(
        FaultsWith(std::string("lora: {adapter_path: /a, ") + key + "}\n"),
        "line 3: lora." + name +
            ": cannot be given together with lora.adapter_path, whose adapter_config.json has "
            "it; remove it");
  }
}

TEST(ResolveJobConfigTest, RefusesLossesOfTokensWithPreference) {
  const std::string reason =
      ": does not apply with preference, whose loss compares whole answers; remove it";
  EXPECT_EQ(FaultsWith("preference: {}\ntrain: {label_smoothing: 0.1}\n"),
            "line 4: train.label_smoothing" + reason);
  EXPECT_EQ(FaultsWith("preference: {}\ntrain: {token_weighting: {measure: entropy}}\n"),
            "line 4: train.token_weighting" + reason);
  EXPECT_EQ(FaultsWith("preference: {loss: ipo, beta: 0.5}\ntrain: {label_smoothing: 0}\n"), "");
  const v1::JobConfig config =
      Resolve(std::string(kMinimal) + "preference: {}\n").resolved.config();
  EXPECT_EQ(config.preference().loss(), v1::PreferenceConfig::LOSS_SIGMOID);
  EXPECT_EQ(config.preference().beta(), 0.1);
}

TEST(ResolveJobConfigTest, RefusesFreezeWithLora) {
  EXPECT_EQ(FaultsWith("lora: {r: 4}\ntrain: {freeze: [model.embed_tokens.*]}\n"),
            "line 4: train.freeze: does not apply with lora, where all weights of the model are "
            "frozen; remove it, and choose the layers with lora.target_modules");
  EXPECT_EQ(FaultsWith("lora: {r: 4}\n"), "");
}

TEST(ResolveJobConfigTest, RefusesQuantizationWithoutLora) {
  const auto faults = [](const std::string& rest) {
    std::string job = kMinimal;
    const size_t model = job.find("model: {");
    EXPECT_NE(model, std::string::npos) << job;
    return Resolve(job.insert(model + std::strlen("model: {"), "quantization: nf4, ") + rest)
        .faults;
  };
  EXPECT_EQ(
      faults(""),
      "line 1: model.quantization: nf4 applies only to weights that do not train, so it needs "
      "lora; add lora: {}, or remove it");
  EXPECT_EQ(faults("lora: {}\n"), "");
  EXPECT_EQ(faults("lora: {adapter_path: /a}\n"), "");
  EXPECT_EQ(Resolve(kMinimal).resolved.config().model().quantization(),
            v1::ModelConfig::QUANTIZATION_NONE);
}

TEST(ResolveJobConfigTest, RefusesPureBf16WithLoraAndOnCuda) {
  const std::string job = std::string(kMinimal) + "train: {precision: bf16_sr}\n";
  EXPECT_EQ(Resolve(job).faults, "");
  EXPECT_EQ(Resolve(job + "resources: {device: cpu}\n").faults, "");
  EXPECT_THAT(Resolve(job + "lora: {}\n").faults,
              HasSubstr("train.precision: bf16_sr saves memory only where the whole model trains"));
  EXPECT_THAT(Resolve(job + "resources: {device: cuda:0}\n").faults,
              HasSubstr("train.precision: bf16_sr computes on the CPU only; set resources.device"));
}

// The configuration of an existing job is resolved; a job that continues it changes the type alone.
TEST(ResolveJobConfigTest, DropsResolvedDefaultsOfTheOtherOptimizer) {
  v1::JobConfig config = Resolve(kMinimal).resolved.config();
  config.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_SGD);
  std::vector<ConfigViolation> violations;
  const v1::ResolvedJobConfig resolved = ResolveJobConfig(config, {.now = kNow}, &violations);
  EXPECT_EQ(ViolationsText(violations), "");
  EXPECT_EQ(resolved.config().optimizer().betas_size(), 0);
}

TEST(ResolveJobConfigTest, FillsInTheAdamwOfMuonAlone) {
  const auto optimizer = [](const std::string& keys) {
    return Resolve(kMinimal + keys).resolved.config().optimizer();
  };
  const v1::OptimizerConfig muon =
      optimizer("optimizer: {type: muon, learning_rate: 0.02, adamw: {eps: 1.0e-9}}\n");
  EXPECT_EQ(muon.adamw().learning_rate(), 3e-4);
  EXPECT_THAT(muon.adamw().betas(), ElementsAre(0.9, 0.95));
  EXPECT_EQ(muon.adamw().eps(), 1e-9);
  EXPECT_EQ(muon.newton_schulz_steps(), 5);
  EXPECT_FALSE(muon.betas_size() > 0 || muon.has_eps());
  EXPECT_FALSE(optimizer("optimizer: {type: adamw_8bit}\n").has_adamw());
  EXPECT_THAT(optimizer("optimizer: {type: adamw_8bit}\n").betas(), ElementsAre(0.9, 0.999));
}

TEST(ResolveJobConfigTest, MuonRules) {
  EXPECT_EQ(FaultsWith("optimizer: {type: muon, learning_rate: 0.02}\n"), "");
  EXPECT_THAT(FaultsWith("optimizer: {type: muon}\n"),
              HasSubstr("optimizer.learning_rate: is required with type: muon, because the default "
                        "2e-5 suits AdamW only"));
  EXPECT_EQ(FaultsWith("optimizer: {type: muon, learning_rate: 0.02, betas: [0.9, 0.95]}\n"),
            "line 3: optimizer.betas: applies only with type: adamw or type: adamw_8bit; give "
            "optimizer.adamw.betas instead");
  EXPECT_EQ(FaultsWith("optimizer: {type: muon, learning_rate: 0.02, eps: 1.0e-9}\n"),
            "line 3: optimizer.eps: applies only with type: adamw or type: adamw_8bit; give "
            "optimizer.adamw.eps instead");
  EXPECT_EQ(FaultsWith("optimizer: {adamw: {learning_rate: 1.0e-3}}\n"),
            "line 3: optimizer.adamw: applies only with type: muon; remove it");
  EXPECT_EQ(FaultsWith("optimizer: {type: muon, learning_rate: 0.02, momentum: 0}\n"),
            "line 3: optimizer.nesterov: requires a momentum above 0; raise optimizer.momentum or "
            "set nesterov: false");
  EXPECT_EQ(
      FaultsWith("optimizer: {type: muon, learning_rate: 0.02, momentum: 0, nesterov: false}\n"),
      "");
  EXPECT_EQ(
      FaultsWith("optimizer: {type: adamw_8bit, betas: [0.9, 0.99, 0.999]}\n"),
      "line 3: optimizer.betas: adamw_8bit takes 2 values, for example [0.9, 0.999]; found 3");
  EXPECT_EQ(
      FaultsWith("optimizer: {type: muon, learning_rate: 0.02, adamw: {betas: [0.9]}}\n"),
      "line 3: optimizer.adamw.betas: adamw takes 2 values, for example [0.9, 0.95]; found 1");
  EXPECT_EQ(FaultsWith("optimizer: {type: muon, learning_rate: 0.02, adamw: {eps: 0}}\n"),
            "line 3: optimizer.adamw.eps: 0 is out of range; allowed: above 0 to 1");
}

TEST(ResolveJobConfigTest, NothingIsTooLongForBfdSplit) {
  EXPECT_EQ(
      FaultsWithData("packing: bfd_split, too_long: fail"),
      "line 2: data.too_long: \"fail\" does not apply with data.packing: bfd_split, which lets "
      "long conversations continue in further rows; leave it out, or set packing: bfd");
  EXPECT_EQ(FaultsWithData("packing: bfd_split"), "");
}

TEST(ResolveJobConfigTest, RefusesDataKeysThatDoNotApplyToPairs) {
  const auto faults = [](const std::string& keys) {
    return Resolve("preference: {}\nmodel: {path: /m}\ndata: {train: [/a.jsonl]" + keys + "}\n")
        .faults;
  };
  EXPECT_EQ(faults(""), "");
  EXPECT_EQ(faults(", train_on: assistant, profile: none, packing: none, too_long: skip, "
                   "system_prompt: s, validation_fraction: 0.1"),
            "");
  for (const char* train_on : {"last_assistant", "template", "all"}) {
    EXPECT_EQ(faults(absl::StrCat(", train_on: ", train_on)),
              absl::StrCat("line 3: data.train_on: \"", train_on,
                           "\" does not apply with preference, where the answers alone count, as "
                           "wholes; leave it out"));
  }
  for (const char* profile : {"emoji_think", "regime3"}) {
    EXPECT_THAT(faults(absl::StrCat(", profile: ", profile)),
                HasSubstr(absl::StrCat("line 3: data.profile: \"", profile,
                                       "\" does not apply with preference")));
  }
  EXPECT_EQ(faults(", packing: bfd_split"),
            "line 3: data.packing: \"bfd_split\" does not apply with preference, because an answer "
            "cannot be compared in pieces; set packing: bfd or none");
}

TEST(ResolveJobConfigTest, FindingsAreNamedByTheirKeys) {
  EXPECT_EQ(FaultsWithData("findings: {duplicate: error, overlap: ignore}"), "");
  v1::JobConfig config;
  EXPECT_EQ(
      ViolationsText(YamlToMessage("data: {findings: {DUPLICATES: error}}", &config).violations),
      "line 1: data.findings.DUPLICATES: unknown key \"DUPLICATES\" in data.findings; did you "
      "mean \"duplicate\"?");
  EXPECT_THAT(FaultsWithData("findings: {duplicate: fatal}"),
              HasSubstr("is not one of error, warn, ignore"));
}

TEST(ResolveJobConfigTest, FormsOfTexts) {
  EXPECT_EQ(
      FaultsWithData("chat_template: /t.txt"),
      "line 2: data.chat_template: \"/t.txt\" is not model, chatml or the path of a .jinja file");
  EXPECT_EQ(FaultsWithData("chat_template: /t.jinja"), "");
  for (const char* device : {"auto", "cpu", "cuda:0", "cuda:12"})
    EXPECT_EQ(FaultsWith(std::string("resources: {device: ") + device + "}\n"), "");
  for (const char* device :
       {"cuda", "gpu", "\"cuda:\"", "cuda:x", "\"cuda:1 \"", "cuda:99999", "CPU"}) {
    EXPECT_THAT(FaultsWith(std::string("resources: {device: ") + device + "}\n"),
                HasSubstr("is not auto, cpu or cuda:N, for example cuda:0"));
  }
  EXPECT_EQ(FaultsWith("name: \"\"\n"),
            "line 3: name: is empty; leave it out for the job file's name");
  EXPECT_THAT(FaultsWith("name: " + std::string(300, 'x') + "\n"),
              HasSubstr("is not a name of up to 200 bytes"));
  EXPECT_THAT(FaultsWith("labels: {\"a b\": 1}\n"),
              HasSubstr("line 3: labels.a b: the key \"a b\" is not"));
  EXPECT_THAT(FaultsWith("labels: {a: " + std::string(300, 'x') + "}\n"),
              HasSubstr("labels.a: the value is longer than 256 bytes"));
}

TEST(ResolveJobConfigTest, TrainingRules) {
  EXPECT_EQ(FaultsWith("optimizer: {betas: 0.9}\n"),
            "line 3: optimizer.betas: adamw takes 2 values, for example [0.9, 0.999]; found 1");
  EXPECT_EQ(FaultsWith("optimizer: {betas: [0.9, 1]}\n"),
            "line 3: optimizer.betas[1]: 1 is out of range; allowed: 0 to below 1");
  EXPECT_EQ(FaultsWith("train: {max_steps: 10}\nschedule: {warmup_steps: 10}\n"),
            "line 4: schedule.warmup_steps: 10 steps of warm-up do not end before train.max_steps "
            "10; lower it or raise max_steps");
  EXPECT_EQ(FaultsWith("train: {max_steps: 10}\nschedule: {warmup_steps: 9}\n"), "");
  EXPECT_EQ(FaultsWith("schedule: {warmup_steps: 1000}\n"), "");
  EXPECT_EQ(FaultsWith("schedule: {type: warmup_stable_decay}\n"),
            "line 3: schedule.decay_steps: is required with type: warmup_stable_decay; give the "
            "number of steps of the decay at the end");
  const std::string decay =
      "schedule: {type: warmup_stable_decay, warmup_steps: 4, decay_steps: 6}\n";
  EXPECT_EQ(FaultsWith(decay + "train: {max_steps: 10}\n"), "");
  EXPECT_EQ(FaultsWith(decay + "train: {max_steps: 9}\n"),
            "line 3: schedule.decay_steps: 6 steps of decay and 4 of warm-up do not fit into "
            "train.max_steps 9; lower one of them or raise max_steps");
  EXPECT_THAT(FaultsWith("schedule: {power: 2}\n"), HasSubstr("type: polynomial"));
  EXPECT_EQ(FaultsWith("train: {epochs: 3, max_steps: 1}\n"), "");
  const std::string types = absl::StrJoin(EnumTexts(*v1::OptimizerConfig::Type_descriptor()), ", ");
  EXPECT_EQ(FaultsWith("optimizer: {type: adamm}\n"),
            absl::StrCat("line 3: optimizer.type: \"adamm\" is not one of ", types,
                         "; did you mean \"adamw\"?"));
}

TEST(ResolveJobConfigTest, OptionalGroups) {
  EXPECT_EQ(FaultsWith("samples: {every_steps: 5}\n"),
            "line 3: samples.prompts is required where samples is given; name a file of prompts or "
            "leave samples out");
  EXPECT_EQ(FaultsWith("samples: {prompts: /p}\n"), "");
  EXPECT_EQ(FaultsWith("init_from: {state: weights}\n"),
            "line 3: init_from.checkpoint is required");
  EXPECT_EQ(FaultsWith("init_from: {checkpoint: /c, state: half}\n"),
            "line 3: init_from.state: \"half\" is not one of full, weights");
  for (const char* good :
       {"/c", "./c", "../c", "jobs/4f", "jobs/4f/checkpoints/step-00000001-a1"}) {
    EXPECT_EQ(FaultsWith(std::string("init_from: {checkpoint: ") + good + "}\n"), "") << good;
  }
  for (const char* bad : {"c", "jobs/", "jobs//checkpoints/c", "jobs/4f/", "jobs/4f/checkpoints/",
                          "jobs/4f/checkpoints/a/b", "\"\""}) {
    EXPECT_THAT(FaultsWith(std::string("init_from: {checkpoint: ") + bad + "}\n"),
                HasSubstr("is neither jobs/ID, jobs/ID/checkpoints/ID nor a path"))
        << bad;
  }
}

}  // namespace
}  // namespace trainerd
