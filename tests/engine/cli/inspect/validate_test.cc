// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/cli/inspect/inspect_fixture.h"

namespace trainerd::engine {
namespace {

using nlohmann::json;

TEST_F(InspectTest, ValidateTellsThatThePairsNeedPreference) {
  const std::string rows = "{\"prompt\":\"q\",\"chosen\":\"yes\",\"rejected\":\"no\"}\n";
  for (const bool quick : {true, false}) {
    json report = Validate({.job_file = Job(rows), .quick = quick});
    ASSERT_EQ(report["findings"][0]["code"], "UNEXPECTED_PAIR") << report.dump();
    report = Validate({.job_file = Job(Row("a", "b"), "preference: {}\n"), .quick = quick});
    ASSERT_EQ(report["findings"][0]["code"], "NOT_A_PAIR") << report.dump();
    report = Validate({.job_file = Job(rows, "preference: {}\n"), .quick = quick}, true);
    EXPECT_EQ(report["examples"], 1);
  }
}

TEST_F(InspectTest, ValidateReportsAllFaultsAndSaysWhetherThereAreErrors) {
  Result result = Output([&](std::FILE* out) {
    const auto clean = RunValidate({.job_file = Job(Row("a", "b"))}, out);
    EXPECT_TRUE(clean.ok() && *clean);
    return absl::OkStatus();
  });
  EXPECT_EQ(json::parse(result.text)["trained_examples"], 1);
  for (const bool quick : {false, true}) {
    result = Output([&](std::FILE* out) {
      const auto clean =
          RunValidate({.job_file = Job("nope\n" + Row("a", "b") + "{}\n"), .quick = quick}, out);
      EXPECT_TRUE(clean.ok() && !*clean);
      return absl::OkStatus();
    });
    const json report = json::parse(result.text);
    ASSERT_EQ(report["findings"].size(), 2u);
    EXPECT_EQ(report["findings"][0]["code"], "BAD_JSON");
    EXPECT_EQ(report["findings"][1]["code"], "NO_MESSAGES");
    EXPECT_EQ(report.value("quick", false), quick);
  }
}

TEST_F(InspectTest, ValidateFindsTheSameOfTheModelWithAndWithoutReadingAllData) {
  const std::string job = Job(Row("a", "b"), "train: {freeze: [x.*]}\n");
  nlohmann::json config = TinyConfig();
  config["tie_word_embeddings"] = false;
  folder_.Write("model/config.json", config.dump());
  for (const bool quick : {true, false}) {
    const json report = Validate({.job_file = job, .quick = quick});
    ASSERT_EQ(report["findings"].size(), 2u) << report;
    EXPECT_EQ(report["findings"][0]["code"], "MODEL_WEIGHTS");
    EXPECT_EQ(report["findings"][1]["code"], "FREEZE");
    EXPECT_EQ(report["findings"][0]["first_places"][0], folder_ / "model");
    EXPECT_EQ(report.value("quick", false), quick);
  }
}

TEST_F(InspectTest, ValidateReportsWhatTheJobWrites) {
  const std::string settings = "checkpoint: {every_steps: 1, keep_last: 9}\n";
  for (const bool quick : {true, false}) {
    const std::string job = Job(Row("a", "b") + Row("c", "d"), settings);
    ValidateOptions options{.job_file = job, .quick = quick, .runs_dir = folder_ / "not/yet"};
    const json disk = Validate(options, /*is_clean=*/true)["disk"];
    EXPECT_EQ(disk["folder"], folder_ / "not/yet");
    // 2 records are 1 step.
    EXPECT_EQ(disk["checkpoint_count"], 1);
    const int64_t weights =
        static_cast<int64_t>(std::filesystem::file_size(folder_ / "model/model.safetensors"));
    EXPECT_GT(disk["final_bytes"], weights);
    EXPECT_GT(disk["checkpoint_bytes"], 3 * weights) << "and two moments";
    EXPECT_GT(disk["free_bytes"], 0);
    // No answer without a folder to measure, or with weights that do not fit.
    options.runs_dir.clear();
    EXPECT_FALSE(Validate(options, /*is_clean=*/true).contains("disk"));
    options.runs_dir = "/proc/runs";
    const json tight = Validate(options, /*is_clean=*/true);
    EXPECT_EQ(tight["findings"][0]["code"], "DISK_SPACE");
    EXPECT_EQ(tight["findings"][0].value("error", false), false);
    options.job_file = Job(Row("a", "b"), settings + "train: {max_steps: 5}\n");
    EXPECT_EQ(Validate(options, /*is_clean=*/true)["disk"]["checkpoint_count"], 5);
  }
}

TEST_F(InspectTest, ValidateReadsTheOptimizerStateOfTheCheckpointToStartFrom) {
  std::string job = Job(Row("a", "b"),
                        "train: {freeze: [model.norm.weight]}\ninit_from: "
                        "{checkpoint: " +
                            folder_ / "model" + ", state: full}\n");
  std::vector<StoredTensor> tensors;
  for (StoredTensor& tensor : TensorsOf(TinyConfig())) {
    if (tensor.name == "model.norm.weight") continue;
    const std::string name = tensor.name;
    for (const char* state : {".exp_avg", ".exp_avg_sq"}) {
      tensor.name = name + state;
      tensors.push_back(tensor);
    }
  }
  WriteTensors(folder_ / "model/optimizer.safetensors", tensors);
  for (const bool quick : {true, false})
    EXPECT_EQ(Validate({.job_file = job, .quick = quick}, /*is_clean=*/true)["findings"].size(),
              0u);
  for (const char* state : {"full", "weights"}) {
    job = Job(Row("a", "b"),
              "init_from: {checkpoint: " + folder_ / "model" + ", state: " + state + "}\n");
    const bool is_clean = std::string(state) == "weights";
    const json report = Validate({.job_file = job, .quick = true}, is_clean);
    ASSERT_EQ(report["findings"].size(), is_clean ? 0u : 1u) << report;
    if (!is_clean) {
      EXPECT_EQ(report["findings"][0]["code"], "OPTIMIZER_STATE");
    }
  }
}

TEST_F(InspectTest, ValidateReportsLora) {
  const auto codes = [this](const std::string& more) {
    std::string found;
    for (const bool quick : {true, false}) {
      const json report = Validate({.job_file = Job(Row("a", "b"), more), .quick = quick});
      found.clear();
      for (const json& finding : report["findings"])
        found += finding["code"].get<std::string>() + " ";
    }
    return found;
  };
  EXPECT_EQ(codes("lora: {target_modules: [qkv_proj]}\n"), "LORA ");
  EXPECT_EQ(codes("lora: {adapter_path: " + folder_ / "nothing" + "}\n"), "ADAPTER ");
  EXPECT_EQ(codes("lora: {adapter_path: " + folder_ / "model" + "}\n"), "ADAPTER ");
  EXPECT_EQ(
      codes("lora: {r: 4}\ninit_from: {checkpoint: " + folder_ / "model" + ", state: weights}\n"),
      "ADAPTER INIT_FROM ");
  folder_.Write("adapter/adapter_config.json", "{}");
  EXPECT_EQ(codes("init_from: {checkpoint: " + folder_ / "adapter" + ", state: weights}\n"),
            "MODEL_FOLDER INIT_FROM ");
}

TEST_F(InspectTest, ValidateReportsWhatAJobWithLoraWrites) {
  const auto disk = [this](const std::string& more) {
    return Validate(
        {.job_file = Job(Row("a", "b"), more), .quick = true, .runs_dir = folder_.path()},
        /*is_clean=*/true)["disk"];
  };
  const int64_t weights =
      static_cast<int64_t>(std::filesystem::file_size(folder_ / "model/model.safetensors"));
  const json adapter = disk("lora: {r: 1, target_modules: [v_proj]}\n");
  // The tokenizer's files are the larger part.
  EXPECT_LT(adapter["final_bytes"], disk("")["final_bytes"].get<int64_t>() - weights / 2);
  EXPECT_LT(adapter["checkpoint_bytes"], disk("")["checkpoint_bytes"].get<int64_t>() - weights);
  const json merged = disk("lora: {r: 1, target_modules: [v_proj]}\noutput: {form: merged}\n");
  EXPECT_EQ(merged["final_bytes"], disk("")["final_bytes"]);
  EXPECT_EQ(merged["checkpoint_bytes"], adapter["checkpoint_bytes"]);
  const json untied = disk("lora: {r: 1, target_modules: [lm_head]}\noutput: {form: merged}\n");
  EXPECT_GT(untied["final_bytes"], merged["final_bytes"].get<int64_t>() + 4 * 8 * 259);
}

TEST_F(InspectTest, ValidateReadsThePromptsOfSamples) {
  const std::string prompts = folder_ / "prompts.jsonl";
  const std::string job = Job(Row("a", "b"), "samples: {prompts: " + prompts + "}\n");
  for (const bool quick : {true, false}) {
    folder_.Write("prompts.jsonl", "{\"prompt\": \"a\"}\n{\"conversations\": []}\n");
    const json report = Validate({.job_file = job, .quick = quick});
    ASSERT_EQ(report["findings"].size(), 1u) << report;
    EXPECT_EQ(report["findings"][0]["code"], "SAMPLE_PROMPTS");
    EXPECT_NE(report["findings"][0]["message"].get<std::string>().find("prompts.jsonl:2: expected"),
              std::string::npos);
    folder_.Write("prompts.jsonl", "{\"prompt\": \"a\"}\n");
    const json clean = Validate({.job_file = job, .quick = quick}, /*is_clean=*/true);
    EXPECT_EQ(clean["findings"].size(), 0u);
  }
}

TEST_F(InspectTest, ValidateFindsTokensWithoutARowInTheEmbedding) {
  // The embedding has no row for the last token, <|im_end|>, which ChatML writes.
  const auto shrink = [](nlohmann::json& config) { config["vocab_size"] = 258; };
  WriteTinyFolder(folder_, "", shrink);
  std::string job = Job(Row("a", "b"));
  for (const bool quick : {true, false}) {
    const json report = Validate({.job_file = job, .quick = quick});
    EXPECT_EQ(report["findings"][0]["code"], "TOKEN_BEYOND_EMBEDDING");
    EXPECT_TRUE(report["findings"][0]["error"]);
  }
  // A template without it: only the record that spells the token.
  folder_.Write("model/chat_template.jinja",
                "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|endoftext|>"
                "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}");
  job = Job(Row("a", "b") + Row("c", "d <|im_end|>"));
  folder_.Write("job.yaml", "model: {path: model}\ndata: {train: [train.jsonl], max_length: 64}\n");
  for (const bool quick : {true, false}) {
    const json report = Validate({.job_file = job, .quick = quick});
    std::string errors;
    for (const json& finding : report["findings"]) {
      if (finding.value("error", false))
        errors += finding["code"].get<std::string>() + finding["message"].get<std::string>();
    }
    EXPECT_NE(errors.find("TOKEN_BEYOND_EMBEDDING"), std::string::npos) << report;
    EXPECT_NE(errors.find("\"<|im_end|>\" (id 258)"), std::string::npos) << report;
  }
}

TEST_F(InspectTest, ValidateRefusesWarmUpLongerThanTheEpochs) {
  const std::string job = Job(Row("a", "b"), "schedule: {warmup_steps: 5}\n");
  for (const bool quick : {true, false}) {
    const json report = Validate({.job_file = job, .quick = quick});
    ASSERT_EQ(report["findings"].size(), 1u) << report;
    EXPECT_EQ(report["findings"][0]["code"], "WARM_UP");
  }
}

// Its records are not known, and so its steps.
TEST_F(InspectTest, ValidateReportsOneErrorOfAFileThatIsForeignOrCutOff) {
  const std::string row = Row("a", "b");
  for (const std::string& contents :
       {std::string("PAR1"), std::string("a,b\n1,2\n"), row.substr(0, 30), "[" + row}) {
    const std::string job = Job(contents, "schedule: {warmup_steps: 5}\n");
    for (const bool quick : {true, false}) {
      const json report = Validate({.job_file = job, .quick = quick});
      ASSERT_EQ(report["findings"].size(), 1u) << report;
      EXPECT_EQ(report["findings"][0]["code"].get<std::string>().substr(0, 4), "BAD_");
    }
  }
}

TEST_F(InspectTest, FullValidateWithoutTokenizerOrDataIsTheQuickReport) {
  std::string job = Job(Row("a", "b"));
  std::filesystem::remove(folder_ / "train.jsonl");
  json report = Validate({.job_file = job});
  EXPECT_EQ(report["findings"][0]["code"], "BAD_FILE");
  job = Job(Row("a", "b"));
  std::filesystem::remove(folder_ / "model/tokenizer.json");
  report = Validate({.job_file = job});
  EXPECT_EQ(report["findings"][0]["code"], "MODEL_FOLDER");
  EXPECT_TRUE(report["quick"]);
}

}  // namespace
}  // namespace trainerd::engine
