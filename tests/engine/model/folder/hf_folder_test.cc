// SPDX-License-Identifier: Apache-2.0
// Folders that are not what they promise, and heads that the files hold under tie_word_embeddings.
// The rules of the head are those of tie_weights in transformers 5.23.0.
#include "engine/model/folder/hf_folder.h"

#include <gmock/gmock.h>

#include "tests/engine/model/folder/tiny_folder.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class HfFolderTest : public ::testing::Test {
 protected:
  std::unique_ptr<HfFolder> Open(const std::vector<StoredTensor>& tensors) {
    WriteTensors(dir_ / "model.safetensors", tensors);
    auto folder = HfFolder::Open(dir_.path());
    EXPECT_TRUE(folder.ok()) << folder.status();
    return *std::move(folder);
  }
  std::string OpenError() {
    const auto folder = HfFolder::Open(dir_.path());
    EXPECT_FALSE(folder.ok());
    return std::string(folder.status().message());
  }
  const TempDir dir_;
  ModelConfig config_ = *ParseModelConfig(TinyConfig().dump(), "config.json");
  std::vector<StoredTensor> tensors_ = TensorsOf(TinyConfig());
};

TEST_F(HfFolderTest, NamesGitLfsPointersAndHtmlPages) {
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4223\n";
  dir_.Write("model.safetensors", pointer);
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("model.safetensors: the file is a Git LFS pointer"),
                                 HasSubstr("run git lfs pull in " + dir_.path())));
  dir_.Write("model.safetensors", "\n<!DOCTYPE html><title>Sign in</title>");
  EXPECT_THAT(OpenError(), HasSubstr("is an HTML page"));
  std::filesystem::remove(dir_ / "model.safetensors");
  dir_.Write("model.safetensors.index.json", pointer);
  EXPECT_THAT(OpenError(), HasSubstr("index.json: the file is a Git LFS pointer"));
}

TEST_F(HfFolderTest, NamesAllMissingShards) {
  WriteTensors(dir_ / "b.safetensors", {{"b", {1}}});
  dir_.Write(
      "model.safetensors.index.json",
      R"({"weight_map": {"a": "a.safetensors", "b": "b.safetensors", "c": "c.safetensors"}})");
  EXPECT_EQ(HfFolder::Open(dir_.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("2 of the 3 files"),
                                 HasSubstr("do not exist: a.safetensors, c.safetensors; download"),
                                 Not(HasSubstr("b.safetensors,"))));
}

TEST_F(HfFolderTest, NamesQuantizedWeightsWithoutAWordInTheConfiguration) {
  for (const char* name : {"model.layers.0.mlp.up_proj.qweight",
                           "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4",
                           "model.layers.0.mlp.up_proj.weight_scale_inv"}) {
    std::vector<StoredTensor> tensors = tensors_;
    tensors.push_back({name, {1}});
    const absl::Status status = Open(tensors)->CheckComplete(config_);
    EXPECT_TRUE(absl::IsUnimplemented(status));
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("quantized"), HasSubstr(name)));
  }
}

TEST_F(HfFolderTest, AdvisesToTieAMissingHead) {
  config_.tie_word_embeddings = false;
  EXPECT_THAT(std::string(Open(tensors_)->CheckComplete(config_).message()),
              HasSubstr("no tensor \"lm_head.weight\" (if the head is the embedding, set "
                        "\"tie_word_embeddings\": true)"));
}

TEST_F(HfFolderTest, NamesTheNumberOfLayersThatTheWeightsHave) {
  const auto message = [&] {
    return std::string(Open(tensors_)->CheckComplete(config_).message());
  };
  config_.num_layers = 5;
  EXPECT_THAT(message(), HasSubstr("has the weights of 2 layers and config.json has 5; set "
                                   "\"num_hidden_layers\": 2 in config.json"));
  // Other weights are missing too, so another number of layers is not enough.
  config_.tie_word_embeddings = false;
  EXPECT_THAT(message(), AllOf(HasSubstr("the weights do not fit config.json"),
                               Not(HasSubstr("num_hidden_layers"))));
  config_.tie_word_embeddings = true;
  config_.num_layers = 2;
  tensors_.pop_back();
  EXPECT_THAT(message(), Not(HasSubstr("num_hidden_layers")));
}

TEST_F(HfFolderTest, ReadsTheLayerOfAName) {
  EXPECT_EQ(LayerOf("model.layers.11.mlp.up_proj.weight"), 11);
  EXPECT_EQ(LayerOf("model.layers.x.mlp"), -1);
  EXPECT_EQ(LayerOf("model.norm.weight"), -1);
  EXPECT_EQ(LayerOf("visual.model.layers.1.mlp"), -1);
}

TEST_F(HfFolderTest, EqualHeadStaysTied) {
  tensors_.push_back({kHeadName, {259, 8}});
  EXPECT_FALSE(Open(tensors_)->MatchHead(HeadCheck::kAll, config_));
  EXPECT_TRUE(config_.tie_word_embeddings);
}

TEST_F(HfFolderTest, OtherHeadUntiesTheModel) {
  tensors_.push_back({kHeadName, {259, 8}, 0.25F});
  for (const HeadCheck check : {HeadCheck::kAll, HeadCheck::kSample}) {
    config_.tie_word_embeddings = true;
    const std::unique_ptr<HfFolder> folder = Open(tensors_);
    EXPECT_TRUE(folder->MatchHead(check, config_));
    EXPECT_FALSE(config_.tie_word_embeddings);
    EXPECT_TRUE(folder->CheckComplete(config_).ok());
  }
}

TEST_F(HfFolderTest, LoneHeadIsTheEmbedding) {
  tensors_[0].name = kHeadName;
  const std::unique_ptr<HfFolder> folder = Open(tensors_);
  EXPECT_FALSE(folder->CheckComplete(config_).ok());
  EXPECT_FALSE(folder->MatchHead(HeadCheck::kAll, config_));
  EXPECT_TRUE(folder->CheckComplete(config_).ok());
  EXPECT_EQ(folder->Find(EmbeddingName({}))->shape, folder->Find(kHeadName)->shape);
}

TEST_F(HfFolderTest, SampleReachesTheEndOfALargeHead) {
  // 6 MiB each: the sample covers 4 MiB of it.
  const std::vector<int64_t> shape = {3 << 18, 2};
  std::vector<float> head(3 << 19, 0.5F);
  config_.vocab_size = shape[0];
  auto writer = SafetensorsWriter::Create(dir_ / "model.safetensors",
                                          {{EmbeddingName({}), StoredDtype::kFloat32, shape},
                                           {kHeadName, StoredDtype::kFloat32, shape}});
  ASSERT_TRUE((*writer)->Append(head.data(), head.size() * sizeof(float)).ok());
  head.back() = 1.0F;
  ASSERT_TRUE((*writer)->Append(head.data(), head.size() * sizeof(float)).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_TRUE((*HfFolder::Open(dir_.path()))->MatchHead(HeadCheck::kSample, config_));
}

}  // namespace
}  // namespace trainerd::engine
