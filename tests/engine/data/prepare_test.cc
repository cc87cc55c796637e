// SPDX-License-Identifier: Apache-2.0
// From files to rows: tokens, labels, the report's figures. Tokens are bytes, counted by hand.
#include "engine/data/prepare.h"

#include <algorithm>

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

}  // namespace
}  // namespace trainerd::engine
