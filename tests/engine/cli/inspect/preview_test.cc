// SPDX-License-Identifier: Apache-2.0
#include "engine/data/prepare.h"
#include "proto/contract/job_file/job_file.h"
#include "tests/engine/cli/inspect/inspect_fixture.h"

namespace trainerd::engine {
namespace {

using nlohmann::json;

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

TEST_F(InspectTest, AFaultyJobFileNamesEveryFaultWithItsLine) {
  const std::string job = Job(Row("a", "b"), "  packin: bfd\ntrain: {epochs: x, batch_size: 0}\n");
  const Result result = Output([&](std::FILE* out) { return RunPreview({.job_file = job}, out); });
  EXPECT_EQ(result.status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(result.status.message());
  EXPECT_NE(message.find("job.yaml:6"), std::string::npos) << message;
  EXPECT_NE(message.find("packin"), std::string::npos) << message;
  EXPECT_NE(message.find("train.epochs"), std::string::npos) << message;
}

}  // namespace
}  // namespace trainerd::engine
