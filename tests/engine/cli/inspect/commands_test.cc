// SPDX-License-Identifier: Apache-2.0
// The three commands over small files, through a stream in memory. Expected ids: a tokenizer whose
// tokens are single bytes.
#include "engine/cli/inspect/commands.h"

#include <cstdlib>
#include <functional>
#include <sstream>

#include "engine/data/prepare.h"
#include "proto/contract/job_file/job_file.h"
#include "tests/engine/model/folder/tiny_folder.h"

namespace trainerd::engine {
namespace {

using nlohmann::json;

struct Result {
  absl::Status status;
  std::string text;
  std::vector<json> lines() const {
    std::vector<json> documents;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) documents.push_back(json::parse(line));
    return documents;
  }
};

Result Output(const std::function<absl::Status(std::FILE*)>& command) {
  char* data = nullptr;
  size_t size = 0;
  std::FILE* out = open_memstream(&data, &size);
  Result result;
  result.status = command(out);
  std::fclose(out);
  result.text.assign(data, size);
  std::free(data);
  return result;
}

class InspectTest : public ::testing::Test {
 protected:
  InspectTest() { WriteTinyFolder(folder_, ""); }

  std::string Job(const std::string& rows, const std::string& more = "") {
    folder_.Write("train.jsonl", rows);
    return folder_.Write(
        "job.yaml",
        "model: {path: model}\ndata:\n  train: [train.jsonl]\n  chat_template: chatml\n"
        "  max_length: 64\n" +
            more);
  }
  static json Validate(const ValidateOptions& options, bool is_clean = false) {
    const Result result = Output([&](std::FILE* out) {
      const auto clean = RunValidate(options, out);
      EXPECT_TRUE(clean.ok() && *clean == is_clean);
      return clean.status();
    });
    return json::parse(result.text);
  }
  const TempDir folder_;
};

TEST_F(InspectTest, PreviewPrintsEachExampleInFileOrder) {
  const std::string job = Job(Row("Hi", "Yo") + R"({"messages":[{"role":"user","content":"x"}]})"
                                                "\n");
  const Result result =
      Output([&](std::FILE* out) { return RunPreview({.job_file = job, .limit = 10}, out); });
  ASSERT_TRUE(result.status.ok()) << result.status;
  const std::vector<json> lines = result.lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["index"], 0);
  EXPECT_EQ(lines[0]["text"],
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n");
  EXPECT_EQ(lines[0]["ids"].size(), 25u);
  EXPECT_EQ(lines[0]["labels"].size(), 25u);
  EXPECT_EQ(lines[0]["labels"][20], -100);
  EXPECT_EQ(lines[0]["labels"][21], 'Y');
  EXPECT_EQ(lines[0]["labels"][23], kEnd);
  EXPECT_FALSE(lines[0].contains("left_out"));
  EXPECT_EQ(lines[1]["left_out"], "no target");
}

TEST_F(InspectTest, PreviewPrintsWeightsOtherThanOne) {
  const std::string job =
      Job(Row("Hi", "Yo") + R"({"messages":[{"role":"user","content":"Hi"},)"
                            R"({"role":"assistant","content":"Yo","weight":0.25}]})"
                            "\n");
  for (const bool packed : {false, true}) {
    const Result result = Output([&](std::FILE* out) {
      return RunPreview({.job_file = job, .limit = 10, .packed = packed}, out);
    });
    ASSERT_TRUE(result.status.ok()) << result.status;
    for (const json& line : result.lines()) {
      // The same tokens: the second conversation, or a sequence that holds it, has weights.
      const std::vector<int64_t> labels = line["labels"];
      if (!packed) {
        EXPECT_EQ(line.contains("weights"), line["index"] == 1);
      }
      if (!line.contains("weights")) continue;
      size_t weighted = 0;
      for (size_t i = 0; i < labels.size(); ++i) {
        if (line["weights"][i] == 1) continue;
        ++weighted;
        EXPECT_EQ(line["weights"][i], 0.25);
        EXPECT_NE(labels[i], -100);
      }
      EXPECT_EQ(weighted, 3u);
    }
  }
}

TEST_F(InspectTest, PreviewMarksWhereMaxLengthCuts) {
  const std::string rows = Row("Hi", std::string(100, 'x')) + Row("a", "b");
  const auto preview = [&](const std::string& more, bool packed) {
    const std::string job = Job(rows, more);
    const Result result = Output([&](std::FILE* out) {
      return RunPreview({.job_file = job, .limit = 10, .packed = packed}, out);
    });
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result.lines();
  };
  // 21 tokens of question and header, 100 of the answer, its end and a newline.
  std::vector<json> lines = preview("", false);
  EXPECT_EQ(lines[0]["ids"].size(), 64u);
  EXPECT_EQ(lines[0]["cut_tokens"], 123 - 64);
  EXPECT_FALSE(lines[0].contains("cuts"));
  EXPECT_FALSE(lines[1].contains("cut_tokens"));
  lines = preview("", true);
  const bool first = lines[0]["index"][0] == 0;
  EXPECT_EQ(lines[first ? 0 : 1]["cut_tokens"], json({123 - 64}));
  EXPECT_FALSE(lines[first ? 1 : 0].contains("cut_tokens"));
  lines = preview("  packing: bfd_split\n", false);
  EXPECT_EQ(lines[0]["ids"].size(), 123u);
  EXPECT_EQ(lines[0]["cuts"], json({64}));
  EXPECT_FALSE(lines[0].contains("cut_tokens"));
  lines = preview("  packing: bfd_split\n", true);
  int64_t marked = 0;
  for (const json& line : lines) {
    if (line.contains("cut_tokens")) marked += line["cut_tokens"][0].get<int64_t>();
  }
  EXPECT_EQ(marked, 123 - 64) << "the first piece is followed by the second";
}

TEST_F(InspectTest, PreviewShowsBothAnswersOfAPair) {
  const std::string rows = R"({"prompt":"q","chosen":"yes","rejected":"no"})"
                           "\n"
                           R"({"prompt":"r","chosen":"s","rejected":"t"})"
                           "\n";
  const std::string job = Job(rows, "preference: {}\n");
  std::vector<json> lines = Output([&](std::FILE* out) {
                              return RunPreview({.job_file = job, .limit = 1, .json = true}, out);
                            }).lines();
  ASSERT_EQ(lines.size(), 1u) << "a pair is one example";
  EXPECT_EQ(lines[0]["index"], 0);
  EXPECT_EQ(lines[0]["text"], "qyes<|im_end|>");
  EXPECT_EQ(lines[0]["labels"], json({-100, 'y', 'e', 's', kEnd}));
  EXPECT_EQ(lines[0]["rejected"]["text"], "qno<|im_end|>");
  EXPECT_EQ(lines[0]["rejected"]["labels"], json({-100, 'n', 'o', kEnd}));
  lines = Output([&](std::FILE* out) {
            return RunPreview({.job_file = job, .limit = 5, .packed = true}, out);
          }).lines();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["pairs"], true);
  EXPECT_EQ(lines[0]["index"], json({0, 0, 1, 1}));
  const Result text = Output([&](std::FILE* out) {
    return RunPreview({.job_file = job, .limit = 1, .json = false}, out);
  });
  EXPECT_NE(text.text.find("example 0, chosen"), std::string::npos) << text.text;
  EXPECT_NE(text.text.find("example 0, rejected"), std::string::npos) << text.text;
}

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

TEST_F(InspectTest, PreviewStopsAtTheLimitAcrossFiles) {
  folder_.Write("second.jsonl", Row("c", "d") + Row("e", "f"));
  const std::string job = Job(Row("a", "b"));
  folder_.Write(
      "job.yaml",
      "model: {path: model}\ndata: {train: [train.jsonl, second.jsonl], chat_template: chatml}\n");
  const Result result =
      Output([&](std::FILE* out) { return RunPreview({.job_file = job, .limit = 2}, out); });
  const std::vector<json> lines = result.lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["index"], 1);
  EXPECT_NE(lines[1]["text"].get<std::string>().find("user\nc"), std::string::npos);
}

TEST_F(InspectTest, PreviewNamesBadRowsOrShowsThemAsLeftOut) {
  std::string job = Job(Row("a", "b") + "nope\n");
  Result result =
      Output([&](std::FILE* out) { return RunPreview({.job_file = job, .limit = 5}, out); });
  EXPECT_EQ(result.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(result.status.message().find("train.jsonl:2:2: the line is not JSON"),
            absl::string_view::npos);
  job = Job(Row("a", "b") + "nope\n" + Row("c", "d"), "  bad_rows: skip\n");
  result = Output([&](std::FILE* out) { return RunPreview({.job_file = job, .limit = 5}, out); });
  const std::vector<json> lines = result.lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1]["left_out"], "bad row");
  EXPECT_EQ(lines[2]["index"], 2);
}

TEST_F(InspectTest, PackedPreviewIsWhatTrainingSees) {
  std::string rows;
  for (int i = 0; i < 20; ++i) rows += Row("q" + std::to_string(i), "a");
  const std::string job = Job(rows);
  const Result result = Output([&](std::FILE* out) {
    return RunPreview({.job_file = job, .limit = 1000, .packed = true}, out);
  });
  ASSERT_TRUE(result.status.ok()) << result.status;
  const std::vector<json> lines = result.lines();
  const v1::JobConfig config = ReadResolvedJob({.path = job})->config();
  const TextPipeline text = *OpenTextPipeline(config);
  const PreparedData data = *PrepareData(config, text, nullptr);
  const DataLoader loader(*data.store, data.train_sequences, LoaderOptions(config));
  ASSERT_EQ(static_cast<int64_t>(lines.size()), data.train_sequences.size());
  size_t row = 0, documents = 0;
  for (int64_t step = 1; step <= loader.steps_per_epoch(); ++step) {
    const std::vector<Microbatch> batches = *loader.Step(step);
    for (const Microbatch& batch : batches) {
      // The rows of a microbatch stand behind each other in it.
      json ids = json::array(), labels = json::array(), index = json::array();
      while (ids.size() < batch.ids.size()) {
        const json& line = lines[row];
        EXPECT_EQ(line["row"], row);
        EXPECT_EQ(line["cu_seqlens"].front(), 0);
        EXPECT_EQ(line["cu_seqlens"].back(), line["ids"].size());
        EXPECT_EQ(line["cu_seqlens"].size(), line["index"].size() + 1);
        for (const auto& value : line["ids"]) ids.push_back(value);
        for (const auto& value : line["labels"]) labels.push_back(value);
        for (const auto& value : line["index"]) index.push_back(value);
        documents += line["index"].size();
        ++row;
      }
      EXPECT_EQ(ids, json(batch.ids));
      EXPECT_EQ(labels, json(batch.labels));
      EXPECT_EQ(index, json(batch.examples));
    }
  }
  EXPECT_EQ(documents, 20u);
  EXPECT_EQ(lines[3]["digest"], *FirstRowsDigest(data, config, 4));
}

TEST_F(InspectTest, PreviewForPeopleMarksTheTrainedPart) {
  const std::string job = Job(Row("Hi", "Yo"));
  const Result result = Output([&](std::FILE* out) {
    return RunPreview({.job_file = job, .limit = 1, .json = false}, out);
  });
  EXPECT_NE(result.text.find("assistant\n\x1b[32mYo<|im_end|>\x1b[0m\n"), std::string::npos);
  EXPECT_NE(result.text.find("25 tokens, 3 trained"), std::string::npos);
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

TEST_F(InspectTest, AFaultyJobFileNamesEveryFaultWithItsLine) {
  const std::string job = Job(Row("a", "b"), "  packin: bfd\ntrain: {epochs: x, batch_size: 0}\n");
  const Result result = Output([&](std::FILE* out) { return RunPreview({.job_file = job}, out); });
  EXPECT_EQ(result.status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(result.status.message());
  EXPECT_NE(message.find("job.yaml:6"), std::string::npos) << message;
  EXPECT_NE(message.find("packin"), std::string::npos) << message;
  EXPECT_NE(message.find("train.epochs"), std::string::npos) << message;
}

TEST_F(InspectTest, TokenizesAndDecodes) {
  const std::string input = folder_.Write("in.jsonl",
                                          "{\"id\":7,\"text\":\"A<|im_end|>\"}\n{\"id\":{\"k\":"
                                          "\"\\u00e9\"},\"text\":\"é\",\"more\":1}\n");
  Result result = Output([&](std::FILE* out) {
    return RunTokenize({.tokenizer_folder = folder_.path() + "/model", .input_file = input}, out);
  });
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.lines(), (std::vector<json>{{{"id", 7}, {"ids", {65, 258}}},
                                               {{"id", {{"k", "é"}}}, {"ids", {0xc3, 0xa9}}}}));
  const std::string ids = folder_.Write("ids.jsonl", result.text);
  result = Output([&](std::FILE* out) {
    return RunTokenize(
        {.tokenizer_folder = folder_.path() + "/model", .input_file = ids, .decode = true}, out);
  });
  EXPECT_EQ(result.lines(),
            (std::vector<json>{{{"id", 7}, {"text", "A<|im_end|>"}, {"special", {1}}},
                               {{"id", {{"k", "é"}}}, {"text", "é"}}}));
}

TEST_F(InspectTest, TokenizeNamesTheLineOfAFault) {
  const auto message = [&](const std::string& contents, bool decode) {
    const std::string input = folder_.Write("in.jsonl", contents);
    return std::string(Output([&](std::FILE* out) {
                         return RunTokenize({.tokenizer_folder = folder_.path() + "/model",
                                             .input_file = input,
                                             .decode = decode},
                                            out);
                       }).status.message());
  };
  EXPECT_NE(
      message("{\"text\":\"a\"}\nnope\n", false).find("in.jsonl:2: column 2: the line is not JSON"),
      std::string::npos);
  EXPECT_NE(message("{\"text\":3}\n", false).find("in.jsonl:1: the record has no \"text\""),
            std::string::npos);
  EXPECT_NE(message("{\"ids\":[1,-1]}\n", true).find("not a token id"), std::string::npos);
}

}  // namespace
}  // namespace trainerd::engine
