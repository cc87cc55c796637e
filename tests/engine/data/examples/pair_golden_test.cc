// SPDX-License-Identifier: Apache-2.0
// Tokens and masks of preference records are those of TRL's DPOTrainer, for several tokenizers and
// templates. tests/golden/data/pairs.json was made by make_pair_goldens.py beside it.
#include <filesystem>
#include <fstream>

#include "engine/data/masking_check.h"
#include "engine/data/prepare.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

const ordered_json& Cases() {
  static const ordered_json cases = [] {
    std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/data/pairs.json");
    return ordered_json::parse(file)["cases"];
  }();
  return cases;
}

class PairGoldenTest : public ::testing::TestWithParam<size_t> {
 protected:
  // The case's model folder, records and settings.
  v1::JobConfig Job() const {
    const ordered_json& golden = Cases()[GetParam()];
    const std::string folder = TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" +
                               golden["tokenizer"].get<std::string>() + "/";
    folder_.Write("model/config.json", "{}");
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
      std::filesystem::copy_file(folder + file, folder_.path() + "/model/" + file);
    }
    std::string records;
    for (const ordered_json& row : golden["rows"]) records += row["record"].dump() + "\n";
    v1::JobConfig config =
        BaseConfig(folder_.path() + "/model", folder_.Write("pairs.jsonl", records));
    v1::DataConfig* data = config.mutable_data();
    data->set_chat_template(folder_.Write("t.jinja", golden["template"].get<std::string>()));
    data->set_max_length(golden["max_length"].get<int32_t>());
    data->set_packing(v1::DataConfig::PACKING_NONE);
    config.mutable_preference();
    return config;
  }

  static std::vector<int32_t> Labels(const std::vector<int32_t>& ids, size_t prompt) {
    std::vector<int32_t> labels = ids;
    // The first token of a document is never scored.
    for (size_t i = 0; i < std::min(std::max<size_t>(prompt, 1), labels.size()); ++i) {
      labels[i] = kIgnoreIndex;
    }
    return labels;
  }

  const TempDir folder_;
};

TEST_P(PairGoldenTest, TokensAndMaskAreThoseOfDpoTrainer) {
  const v1::JobConfig config = Job();
  const absl::StatusOr<TextPipeline> text = OpenTextPipeline(config);
  ASSERT_TRUE(text.ok()) << text.status();
  const absl::StatusOr<PreparedData> data = PrepareData(config, *text, nullptr);
  ASSERT_TRUE(data.ok()) << data.status();
  int64_t example = 0, record = 0;
  for (const ordered_json& row : Cases()[GetParam()]["rows"]) {
    SCOPED_TRACE(row["record"].dump());
    const int64_t index = record++;
    if (row["pair"].is_null()) continue;
    const auto prompt = row["pair"]["prompt"].get<size_t>();
    for (const char* answer : {"chosen", "rejected"}) {
      const absl::StatusOr<TokenExample> tokens = data->store->Read(example++);
      ASSERT_TRUE(tokens.ok()) << tokens.status();
      const auto ids = row["pair"][answer].get<std::vector<int32_t>>();
      EXPECT_EQ(tokens->ids, ids);
      EXPECT_EQ(tokens->labels, Labels(ids, prompt));
      EXPECT_EQ(tokens->index, index);
    }
  }
  EXPECT_EQ(data->store->size(), example);
  const absl::StatusOr<v1::MaskingReport> masking = CheckMasking(*data, config, *text);
  ASSERT_TRUE(masking.ok()) << masking.status();
  EXPECT_TRUE(MaskingStatus(*masking).ok()) << MaskingStatus(*masking);
}

INSTANTIATE_TEST_SUITE_P(Cases, PairGoldenTest, ::testing::Range(size_t{0}, Cases().size()),
                         [](const auto& info) {
                           return Cases()[info.param]["name"].template get<std::string>();
                         });

}  // namespace
}  // namespace trainerd::engine
