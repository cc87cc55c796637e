// SPDX-License-Identifier: Apache-2.0
// Every supported family, from a folder with random weights through a short job to final/. The
// numbers are compared with transformers in tests/engine/model/decoder_test.cc. Vision-language
// models are in tests/integration/training/families_test.py.
#include "engine/model/folder/hf_folder.h"
#include "tests/engine/model/golden_model.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

TEST(FamiliesTest, TrainEndToEndAndKeepTheirFormat) {
  for (const std::string& name : golden::ModelNames()) {
    SCOPED_TRACE(name);
    if (golden::Read(name).contains("vision")) continue;
    nlohmann::json config = golden::Read(name)["config"];
    // The sizes of the test tokenizer.
    config.update({{"vocab_size", 320}, {"max_position_embeddings", 2048}, {"dtype", "float32"}});
    TempDir folder;
    testing::WriteText(folder / "config.json", config.dump());
    const testing::TinyJob job(folder, "fp32", folder / "config.json");
    const internal::AttemptSpec spec = job.Spec("run", 1, "train: {epochs: 1}");
    testing::Ran ran;
    testing::RunAttempt(spec, &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
    const auto losses = ran.events.Losses();
    EXPECT_LT(losses.at(6), losses.at(1));

    const std::string final_folder = spec.run_dir() + "/final";
    EXPECT_EQ(nlohmann::json::parse(testing::ReadText(final_folder + "/config.json")), config);
    const auto model = ReadModelConfig(final_folder);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto weights = HfFolder::Open(final_folder);
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_TRUE((*weights)->CheckComplete(*model).ok()) << (*weights)->CheckComplete(*model);
  }
}

}  // namespace
}  // namespace trainerd::engine
