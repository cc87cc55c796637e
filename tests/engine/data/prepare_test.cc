// SPDX-License-Identifier: Apache-2.0
// From files to rows: tokens, labels, the report's figures. Tokens are bytes, counted by hand.
#include "engine/data/prepare.h"

#include <algorithm>

#include "engine/data/masking_check.h"
#include "proto/base/hash.h"
#include "tests/engine/data/prepare_fixture.h"

namespace trainerd::engine {
namespace {

using PrepareTest = PrepareFixture;

TEST_F(PrepareTest, TrainsTheAnswerThroughItsEndToken) {
  const auto data = Prepare(Config(Row("Hi", "Yo")));
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->train.size(), 1u);
  const TokenExample example = TrainExample(*data, 0);
  EXPECT_EQ(example.ids, Join({{kStart},
                               Bytes("user\nHi"),
                               {kEnd},
                               Bytes("\n"),
                               {kStart},
                               Bytes("assistant\n"),
                               Bytes("Yo"),
                               {kEnd},
                               Bytes("\n")}));
  EXPECT_EQ(example.labels, Join({Ignored(21), Bytes("Yo"), {kEnd}, Ignored(1)}));
  EXPECT_EQ(example.target_spans, 1);
  EXPECT_EQ(data->report.examples(), 1);
  EXPECT_EQ(data->report.trained_examples(), 1);
  EXPECT_EQ(data->report.target_tokens(), 3);
  EXPECT_EQ(data->report.tokens().max(), 25);
  EXPECT_EQ(data->report.total_steps(), 1);
  EXPECT_EQ(data->report.findings_size(), 0);
}

TEST_F(PrepareTest, TrainOnDecidesWhichTurnsAreTargets) {
  v1::JobConfig config =
      Config(R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"one"},)"
             R"({"role":"user","content":"r"},{"role":"assistant","content":"three"}]})"
             "\n");
  const auto targets = [&](v1::DataConfig::TrainOn train_on) {
    config.mutable_data()->set_train_on(train_on);
    const auto data = Prepare(config);
    EXPECT_TRUE(data.ok()) << data.status();
    return std::pair(data->report.target_tokens(), TrainExample(*data, 0).target_spans);
  };
  EXPECT_EQ(targets(v1::DataConfig::TRAIN_ON_ASSISTANT), std::pair(int64_t{4 + 6}, 2));
  EXPECT_EQ(targets(v1::DataConfig::TRAIN_ON_LAST_ASSISTANT), std::pair(int64_t{6}, 1));
  const auto all = targets(v1::DataConfig::TRAIN_ON_ALL);
  EXPECT_EQ(all.second, 1);
  EXPECT_EQ(all.first, Prepare(config)->report.tokens().total() - 1);
}

TEST_F(PrepareTest, IndicesAndOrderFollowTheFiles) {
  v1::JobConfig config = Config(Row("a", "1") + "\n" + Row("b", "2"));
  config.mutable_data()->add_train()->set_path(folder_.Write("second.jsonl", Row("c", "3")));
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok());
  ASSERT_EQ(data->train.size(), 3u);
  EXPECT_EQ(TrainExample(*data, 0).index, 0);
  EXPECT_EQ(TrainExample(*data, 1).index, 1);
  EXPECT_EQ(TrainExample(*data, 2).index, 2);
  EXPECT_EQ(data->report.examples(), 3);
}

TEST_F(PrepareTest, ReadsEachFileInTheFormOfItsFirstRow) {
  v1::JobConfig config = Config(R"({"instruction":"Hi","output":"Yo"})"
                                "\n"
                                R"({"instruction":"a","input":"b","output":"c"})"
                                "\n");
  config.mutable_data()->add_train()->set_path(folder_.Write("second.jsonl", Row("Hi", "Yo")));
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->train.size(), 3u);
  EXPECT_EQ(TrainExample(*data, 0).ids, TrainExample(*data, 2).ids);
  EXPECT_EQ(TrainExample(*data, 0).labels, TrainExample(*data, 2).labels);
  EXPECT_EQ(data->report.format(),
            folder_.path() + "/train.jsonl: alpaca, " + folder_.path() + "/second.jsonl: messages");
  config.mutable_data()->mutable_train()->RemoveLast();
  EXPECT_EQ(Prepare(config)->report.format(), "alpaca");
  folder_.Write("train.jsonl", R"({"instruction":"Hi","output":"Yo"})"
                               "\n" +
                                   Row("a", "b"));
  EXPECT_NE(Fault(config).find("train.jsonl:2: the record has no \"instruction\""),
            std::string::npos);
}

TEST_F(PrepareTest, TheResultDoesNotDependOnTheThreads) {
  const v1::JobConfig config = Config(Numbered(3000));
  const auto one = Prepare(config, {.num_threads = 1}), two = Prepare(config, {.num_threads = 2});
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->report.SerializeAsString(), two->report.SerializeAsString());
  EXPECT_EQ(*FirstRowsDigest(*one, config, 1000), *FirstRowsDigest(*two, config, 1000));
}

TEST_F(PrepareTest, FingerprintAndDigestCoverIdsAndLabels) {
  v1::JobConfig config = Config(Numbered(9));
  config.mutable_data()->set_shuffle(false);
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_NONE);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok());
  std::string bytes;
  for (size_t i = 0; i < data->train.size(); ++i) {
    const TokenExample example = TrainExample(*data, i);
    bytes.append(reinterpret_cast<const char*>(example.ids.data()), example.ids.size() * 4);
    bytes.append(reinterpret_cast<const char*>(example.labels.data()), example.labels.size() * 4);
  }
  EXPECT_EQ(data->report.fingerprint(), Xxh3(bytes));
  EXPECT_EQ(*FirstRowsDigest(*data, config, 9), ToHex(Xxh3(bytes)));
  config.mutable_data()->set_train_on(v1::DataConfig::TRAIN_ON_ALL);
  EXPECT_NE(Prepare(config)->report.fingerprint(), data->report.fingerprint());
}

TEST_F(PrepareTest, LengthPercentilesAreNumpys) {
  // Answers of 1 … 101 bytes: lengths are an arithmetic series from 24 to 124.
  std::string contents;
  for (int i = 1; i <= 101; ++i) contents += Row("qq", std::string(static_cast<size_t>(i), 'a'));
  const auto data = Prepare(Config(contents));
  ASSERT_TRUE(data.ok());
  const auto& tokens = data->report.tokens();
  EXPECT_EQ(tokens.count(), 101);
  EXPECT_DOUBLE_EQ(tokens.p50(), 74);
  EXPECT_DOUBLE_EQ(tokens.p95(), 119);
  EXPECT_DOUBLE_EQ(tokens.p99(), 123);
  EXPECT_EQ(tokens.max(), 124);
  EXPECT_EQ(tokens.total(), 101 * 74);
}

TEST_F(PrepareTest, ProgressRisesToOneAndCanEndTheWork) {
  const v1::JobConfig config = Config(Numbered(5000));
  const auto text = OpenTextPipeline(config);
  ASSERT_TRUE(text.ok());
  double last = 0;
  int calls = 0;
  ASSERT_TRUE(PrepareData(config, *text, [&](double fraction) {
                EXPECT_GE(fraction, last);
                EXPECT_LE(fraction, 1.0);
                last = fraction;
                ++calls;
                return absl::OkStatus();
              }).ok());
  EXPECT_DOUBLE_EQ(last, 1.0);
  EXPECT_GE(calls, 3);
  const auto stopped =
      PrepareData(config, *text, [](double) { return absl::CancelledError("stop was asked for"); });
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(PrepareTest, SystemPromptAndProfileReachTheTemplate) {
  v1::JobConfig config = Config(Row("a", "5"));
  config.mutable_data()->set_system_prompt("Sys");
  config.mutable_data()->set_profile(v1::DataConfig::PROFILE_REGIME3);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok());
  const std::vector<int32_t> ids = TrainExample(*data, 0).ids;
  const std::vector<int32_t> system = Join({{kStart}, Bytes("system\nSys"), {kEnd}});
  EXPECT_TRUE(std::equal(system.begin(), system.end(), ids.begin()));
  const std::vector<int32_t> answer = Bytes("<<ANS_START>> 5 <<ANS_END>>");
  EXPECT_NE(std::search(ids.begin(), ids.end(), answer.begin(), answer.end()), ids.end());
}

TEST_F(PrepareTest, SettingsThatCannotWorkAreRefusedBeforeReading) {
  v1::JobConfig config = Config("nope\n");
  config.mutable_data()->set_train_on(v1::DataConfig::TRAIN_ON_TEMPLATE);
  EXPECT_EQ(
      Fault(config),
      "data.train_on is \"template\", but the chat template has no {% generation %} marks; set "
      "train_on: assistant, or chat_template to a .jinja file that has them");
  config.mutable_data()->set_chat_template("model");
  EXPECT_NE(Fault(config).find("has no chat template; set data.chat_template: chatml"),
            std::string::npos);
  config.mutable_data()->set_chat_template(folder_.path() + "/none.jinja");
  EXPECT_NE(Fault(config).find("data.chat_template: "), std::string::npos);
  config.mutable_data()->set_chat_template(folder_.Write("bad.jinja", "{% for %}"));
  EXPECT_NE(Fault(config).find("data.chat_template"), std::string::npos);
}

// As TRL's SFTTrainer makes them: the EOS token follows, unless the text ends with it.
TEST_F(PrepareTest, TrainsPlainTextButItsFirstToken) {
  v1::JobConfig config = Config(
      "{\"text\":\"Hi, you\"}\n{\"text\":\"Ho<|im_end|>\"}\n"
      "{\"text\":\" \\n\"}\n");
  auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->report.format(), "text");
  ASSERT_EQ(data->train.size(), 2u) << "blank text has nothing to learn";
  EXPECT_EQ(Find(*data, "NO_TARGET")->first_places(0), folder_.path() + "/train.jsonl:3");
  EXPECT_EQ(TrainExample(*data, 0).ids, Join({Bytes("Hi, you"), {kEnd}}));
  EXPECT_EQ(TrainExample(*data, 0).labels, Join({Ignored(1), Bytes("i, you"), {kEnd}}));
  EXPECT_EQ(TrainExample(*data, 1).ids, Join({Bytes("Ho"), {kEnd}}));
  EXPECT_EQ(Find(*data, "CONTROL_TOKENS")->count(), 1);
  EXPECT_EQ(Find(*data, "NO_ASSISTANT"), nullptr);
  const auto text = OpenTextPipeline(config);
  const auto report = CheckMasking(*data, config, *text);
  ASSERT_TRUE(report.ok()) << report.status();
  for (const auto& check : report->checks()) EXPECT_TRUE(check.passed()) << check.message();

  config.mutable_data()->set_control_tokens(v1::DataConfig::CONTROL_TOKENS_AS_TEXT);
  data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(TrainExample(*data, 1).ids, Join({Bytes("Ho<|im_end|>"), {kEnd}}));
  config.mutable_data()->set_control_tokens(v1::DataConfig::CONTROL_TOKENS_ERROR);
  EXPECT_EQ(Fault(config).substr(0, 40), "train.jsonl:2: \"text\" holds \"<|im_end|>\"");
}

TEST_F(PrepareTest, CutsPlainTextAtMaxLength) {
  v1::JobConfig config = Config("{\"text\":\"" + std::string(20, 'x') + "\"}\n");
  config.mutable_data()->set_max_length(8);
  auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(TrainExample(*data, 0).labels, Join({Ignored(1), Bytes("xxxxxxx")}));
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_BFD_SPLIT);
  data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train_sequences.num_documents(), 3);
}

TEST_F(PrepareTest, PutsTheTokenizersOwnStartInFrontOfPlainText) {
  nlohmann::json file = nlohmann::json::parse(std::ifstream(model_ + "/tokenizer.json"));
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<|im_start|>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"pair", nlohmann::json::array()},
      {"special_tokens",
       {{"<|im_start|>",
         {{"id", "<|im_start|>"}, {"ids", {kStart}}, {"tokens", {"<|im_start|>"}}}}}}};
  folder_.Write("model/tokenizer.json", file.dump());
  folder_.Write("model/tokenizer_config.json",
                R"({"bos_token":"<|im_start|>","eos_token":"<|im_end|>"})");
  const auto data = Prepare(Config("{\"text\":\"Hi\"}\n"));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(TrainExample(*data, 0).ids, Join({{kStart}, Bytes("Hi"), {kEnd}}));
  EXPECT_EQ(TrainExample(*data, 0).labels, Join({Ignored(1), Bytes("Hi"), {kEnd}}));
}

TEST_F(PrepareTest, PlainTextNeedsNoChatTemplate) {
  v1::JobConfig config = Config("{\"text\":\"Hi\"}\n");
  config.mutable_data()->set_chat_template("model");
  EXPECT_TRUE(Prepare(config).ok());
  config.mutable_data()->add_train()->set_path(folder_.Write("chat.jsonl", Row("a", "b")));
  EXPECT_NE(Fault(config).find("has no chat template; set data.chat_template: chatml"),
            std::string::npos);
}

TEST_F(PrepareTest, RefusesPlainTextWithoutEosToken) {
  folder_.Write("model/tokenizer_config.json", "{}");
  v1::JobConfig config = Config("{\"text\":\"Hi\"}\n");
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  EXPECT_EQ(Fault(config),
            "train.jsonl:1: a {\"text\": …} record ends with the tokenizer's eos_token, and "
            "tokenizer_config.json names none; add it");
}

// A weight of 1 is none: the same fingerprint. Another one is part of the data.
TEST_F(PrepareTest, WeightsOfMessagesReachTheMicrobatchAndTheFingerprint) {
  const auto row = [](const std::string& weight) {
    return R"({"messages": [{"role": "user", "content": "q", "weight": 7}, )"
           R"({"role": "assistant", "content": "ab")" +
           weight + "}]}\n" + Row("q", "c");
  };
  const PreparedData plain = *Prepare(Config(row(""))),
                     one = *Prepare(Config(row(R"(, "weight": 1)"))),
                     half = *Prepare(Config(row(R"(, "weight": 0.5)"))),
                     third = *Prepare(Config(row(R"(, "weight": 0.75)")));
  EXPECT_EQ(one.report.fingerprint(), plain.report.fingerprint());
  EXPECT_NE(half.report.fingerprint(), plain.report.fingerprint());
  EXPECT_NE(half.report.fingerprint(), third.report.fingerprint());
  EXPECT_EQ(half.report.target_tokens(), plain.report.target_tokens());
  EXPECT_TRUE(plain.store->Read(0)->weights.empty());
  const TokenExample example = *half.store->Read(0);
  ASSERT_EQ(example.weights.size(), example.ids.size());
  for (size_t i = 0; i < example.ids.size(); ++i)
    EXPECT_EQ(example.weights[i], example.labels[i] == kIgnoreIndex ? 1.0f : 0.5f) << i;
  EXPECT_TRUE(half.store->Read(1)->weights.empty());
}

TEST_F(PrepareTest, NamesTheLineOfABadWeight) {
  EXPECT_EQ(Fault(Config(Row("q", "a") + R"({"messages": [{"role": "user", "content": "q"}, )"
                                         R"({"role": "assistant", "content": "a", "weight": -1}]})"
                                         "\n")),
            "train.jsonl:2: messages[1].weight is -1; it is a number from 0 (not trained) to 1000; "
            "fix the record, or set data.bad_rows: skip");
}

}  // namespace
}  // namespace trainerd::engine
