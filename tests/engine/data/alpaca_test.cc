// SPDX-License-Identifier: Apache-2.0
// Real data and a real tokenizer against the references: ids and labels of 999 conversations equal,
// bit for bit, what transformers and TRL make of them. Digests:
// tests/golden/data/make_alpaca_digests.py.
#include <filesystem>
#include <fstream>

#include "engine/data/masking_check.h"
#include "engine/data/prepare.h"
#include "nlohmann/json.hpp"
#include "proto/base/hash.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

class AlpacaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string shared = trainerd::testing::SharedDir();
    file_ = shared + "/data/alpaca_en_1k.jsonl";
    model_ = shared + "/models/qwen3-tokenizer";
    for (const std::string& needed : {file_, model_ + "/tokenizer.json"}) {
      if (!std::filesystem::exists(needed)) GTEST_SKIP() << needed << " is not on this machine";
    }
    golden_ = nlohmann::json::parse(
        std::ifstream(TRAINERD_SOURCE_DIR + "/tests/golden/data/alpaca_digests.json"));
  }

  void ExpectEqual(const std::string& convention, const std::string& chat_template) {
    for (const nlohmann::json& expected : golden_[convention]) {
      v1::JobConfig config = BaseConfig(model_, file_);
      config.mutable_data()->set_max_length(expected["max_length"]);
      config.mutable_data()->set_train_on(convention == "template"
                                              ? v1::DataConfig::TRAIN_ON_TEMPLATE
                                              : v1::DataConfig::TRAIN_ON_ASSISTANT);
      config.mutable_data()->set_chat_template(chat_template);
      const auto text = OpenTextPipeline(config);
      ASSERT_TRUE(text.ok()) << text.status();
      const auto data = PrepareData(config, *text, nullptr, {.num_threads = 2});
      ASSERT_TRUE(data.ok()) << data.status();
      int64_t tokens = 0;
      for (size_t i = 0; i < data->train.size(); ++i) {
        tokens += static_cast<int64_t>(TrainExample(*data, i).ids.size());
      }
      EXPECT_EQ(data->report.trained_examples(), expected["rows"]);
      EXPECT_EQ(tokens, expected["tokens"]);
      EXPECT_EQ(data->report.target_tokens(), expected["target_tokens"]);
      EXPECT_EQ(ToHex(data->report.fingerprint()), expected["xxh3_128"].get<std::string>());
      EXPECT_TRUE(MaskingStatus(*CheckMasking(*data, config, *text)).ok());
    }
  }

  std::string file_, model_;
  nlohmann::json golden_;
};

TEST_F(AlpacaTest, GenerationMarksEqualTrlsTrainingTemplate) {
  ExpectEqual("template", TRAINERD_SOURCE_DIR + "/tests/golden/data/qwen3_marks.jinja");
}

TEST_F(AlpacaTest, AssistantTurnsOfTheStockTemplateThroughTheEndToken) {
  ExpectEqual("assistant", "model");
}

}  // namespace
}  // namespace trainerd::engine
