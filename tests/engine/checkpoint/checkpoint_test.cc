// SPDX-License-Identifier: Apache-2.0
// A checkpoint restores bit for bit. Any damage to any of its files is detected, and the error
// names the file. A full disk does not affect earlier checkpoints.
#include "engine/checkpoint/checkpoint.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linspace.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/optimizer_file.h"
#include "tests/engine/checkpoint/fsync_log.h"
#include "tests/engine/optim/optimizers.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using testing::ReadText;
using testing::WriteText;

const std::string kDigest(32, 'd');

// Parameters of a tiny model with numbers that bf16 cannot hold, and moments.
class CheckpointTest : public ::testing::TestWithParam<std::pair<const char*, Precision>> {
 protected:
  void SetUp() override {
    testing::MakeTinyModel(folder_ / "model", GetParam().first);
    config_ = *ReadModelConfig(folder_ / "model");
    parameters_ = Load(folder_ / "model");
    optimizer_ = testing::Build(testing::AdamWConfig(), *parameters_);
    Fill(parameters_->flat_master(), 0.3, 1);
    parameters_->PublishCompute();
    for (const OptimizerState& state : optimizer_->State()) {
      const bool is_square = state.name == "exp_avg_sq";
      for (const at::Tensor& tensor : state.tensors) {
        tensor.view({-1}).copy_(
            at::linspace(is_square ? 1e-9 : -0.01, is_square ? 1e-3 : 0.01, tensor.numel()));
      }
    }
    ASSERT_TRUE(WritePublisher(folder_.path(), 3).ok());
  }
  // The padding between groups stays 0.
  void Fill(const at::Tensor& flat, double from, double to) {
    for (const Parameter& parameter : parameters_->parameters()) {
      flat.narrow(0, parameter.offset, parameter.master.numel())
          .copy_(at::linspace(from, to, parameter.master.numel()));
    }
  }
  std::unique_ptr<ParameterSet> Load(const std::string& folder) {
    return Load(folder, GetParam().second);
  }
  std::unique_ptr<ParameterSet> Load(const std::string& folder, Precision precision) {
    auto parameters = *ParameterSet::Create(config_, precision, testing::TestDevice());
    const absl::Status loaded = parameters->Load(**HfFolder::Open(folder));
    EXPECT_TRUE(loaded.ok()) << loaded;
    return parameters;
  }
  v1::JobConfig JobConfig() const {
    v1::JobConfig config;
    *config.mutable_optimizer() = optimizer_config_;
    if (GetParam().second == Precision::kBf16Sr)
      config.mutable_train()->set_precision(v1::TrainConfig::PRECISION_BF16_SR);
    return config;
  }
  absl::StatusOr<v1::Checkpoint> Write(int64_t step) {
    RunState state{.step = step, .total_steps = 100, .tokens = 100 * step};
    state.config.set_config_digest(kDigest);
    *state.config.mutable_config() = JobConfig();
    return WriteCheckpoint({.run_dir = folder_.path(),
                            .job = "jobs/x",
                            .attempt = 3,
                            .parent = "jobs/x/checkpoints/step-00000001-a2",
                            .model_folder = folder_ / "model"},
                           state, *parameters_, *optimizer_);
  }

  TempDir folder_;
  ModelConfig config_;
  std::unique_ptr<ParameterSet> parameters_;
  v1::OptimizerConfig optimizer_config_ = testing::AdamWConfig();
  std::unique_ptr<Optimizer> optimizer_;
};

TEST_P(CheckpointTest, RestoresBitForBit) {
  const auto written = Write(7);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->name(), "jobs/x/checkpoints/step-00000007-a3");
  EXPECT_EQ(written->path(), folder_ / "checkpoints/step-00000007-a3");
  EXPECT_EQ(written->parent(), "jobs/x/checkpoints/step-00000001-a2");
  EXPECT_TRUE(written->verified());
  EXPECT_TRUE(written->has_optimizer());
  EXPECT_EQ(written->config_digest(), kDigest);
  EXPECT_EQ(written->manifest_digest().size(), 16u);
  EXPECT_EQ(written->tokens(), 700);
  EXPECT_GT(written->create_time().seconds(), 0);
  const auto opened = OpenCheckpoint(written->path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->state.step, 7);
  EXPECT_EQ(written->size_bytes(), opened->manifest.total_bytes());
  auto parameters = Load(written->path());
  const std::unique_ptr<Optimizer> optimizer = testing::Build(testing::AdamWConfig(), *parameters);
  ASSERT_TRUE(ReadOptimizerFile(written->path(), *parameters, *optimizer).ok());
  EXPECT_TRUE(at::equal(parameters->flat_master(), parameters_->flat_master()));
  EXPECT_TRUE(at::equal(parameters->flat_value(), parameters_->flat_value()));
  EXPECT_TRUE(
      testing::Equal(testing::StateTensors(*optimizer), testing::StateTensors(*optimizer_)));
  EXPECT_EQ(testing::StateTensors(*optimizer).size(), 2 * parameters->parameters().size());
}

// init_from with another train.precision: rounded to nearest-even, or exact.
TEST_P(CheckpointTest, RestoresInAnotherPrecision) {
  const auto written = Write(7);
  ASSERT_TRUE(written.ok()) << written.status();
  for (const Precision other : {Precision::kFp32, Precision::kBf16, Precision::kBf16Sr}) {
    auto parameters = Load(written->path(), other);
    const auto optimizer = testing::Build(testing::AdamWConfig(), *parameters);
    const absl::Status read = ReadOptimizerFile(written->path(), *parameters, *optimizer);
    ASSERT_TRUE(read.ok()) << read;
    const at::ScalarType dtype = parameters->flat_master().scalar_type();
    EXPECT_EQ(dtype, other == Precision::kBf16Sr ? at::kBFloat16 : at::kFloat);
    EXPECT_TRUE(at::equal(parameters->flat_master(), parameters_->flat_master().to(dtype)));
    EXPECT_TRUE(at::equal(parameters->flat_value(),
                          parameters->flat_master().to(parameters->compute_dtype())));
    EXPECT_TRUE(
        testing::Equal(testing::StateTensors(*optimizer), testing::StateTensors(*optimizer_)));
  }
}

// States of other dtypes and shapes than the parameter's, and parameters without a state.
TEST_P(CheckpointTest, RestoresTheStateOfEachOptimizer) {
  int64_t step = 1;
  for (const auto type : {v1::OptimizerConfig::TYPE_MUON, v1::OptimizerConfig::TYPE_ADAMW_8BIT}) {
    optimizer_config_ = testing::DefaultConfig(type);
    optimizer_ = testing::Build(optimizer_config_, *parameters_);
    for (const at::Tensor& tensor : testing::StateTensors(*optimizer_)) {
      const double largest = tensor.scalar_type() == at::kByte ? 255 : 0.5;
      tensor.view({-1}).copy_(at::linspace(0, largest, tensor.numel()));
    }
    const auto written = Write(++step);
    ASSERT_TRUE(written.ok()) << written.status();
    auto parameters = Load(written->path());
    const auto optimizer = testing::Build(optimizer_config_, *parameters);
    const absl::Status read = ReadOptimizerFile(written->path(), *parameters, *optimizer);
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_TRUE(
        testing::Equal(testing::StateTensors(*optimizer), testing::StateTensors(*optimizer_)));
    const CheckpointSize size = SizeOfCheckpoint(*parameters_, JobConfig(), folder_ / "model");
    EXPECT_NEAR(static_cast<double>(size.checkpoint_bytes),
                static_cast<double>(written->size_bytes()), 8 << 10);
    const auto other = testing::Build(testing::AdamWConfig(), *parameters);
    const absl::Status refused = ReadOptimizerFile(written->path(), *parameters, *other);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("from a job with another optimizer"));
  }
}

TEST_P(CheckpointTest, NamesTheTensorOfAnotherDtype) {
  optimizer_config_ = testing::DefaultConfig(v1::OptimizerConfig::TYPE_ADAMW_8BIT);
  optimizer_ = testing::Build(optimizer_config_, *parameters_);
  const auto written = Write(7);
  ASSERT_TRUE(written.ok()) << written.status();
  const std::string path = written->path() + "/optimizer.safetensors";
  std::string bytes = ReadText(path);
  const size_t dtype = bytes.find("\"U8\"");
  ASSERT_NE(dtype, std::string::npos);
  bytes.replace(dtype, 4, "\"I8\"");
  WriteText(path, bytes);
  const absl::Status status = ReadOptimizerFile(written->path(), *parameters_, *optimizer_);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.embed_tokens.weight.exp_avg_8bit"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("is I8 [320, 32], expected U8 [320, 32]"));
}

// The attempt that created checkpoints/ may have been killed right after it.
TEST_P(CheckpointTest, SyncsRunDirectoryIfCheckpointsFolderExists) {
  std::filesystem::create_directories(folder_ / "checkpoints");
  testing::FsyncLog::Get().Clear();
  ASSERT_TRUE(Write(7).ok());
  EXPECT_TRUE(testing::FsyncLog::Get().Has(folder_.path()));
}

TEST_P(CheckpointTest, DetectsAndNamesDamageToEachFile) {
  const auto written = Write(7);
  ASSERT_TRUE(written.ok()) << written.status();
  const auto manifest = ReadManifest(written->path());
  ASSERT_TRUE(manifest.ok());
  EXPECT_GE(manifest->files.size(), 7u);
  for (const auto& [name, file] : manifest->files) {
    const std::string path = absl::StrCat(written->path(), "/", name);
    const std::string whole = ReadText(path);
    std::string flipped = whole;
    flipped[whole.size() / 2] ^= 0x10;
    for (const std::string& damaged :
         {whole.substr(0, whole.size() - 1), whole.substr(0, 0), whole + "x", flipped}) {
      WriteText(path, damaged);
      const auto opened = OpenCheckpoint(written->path());
      EXPECT_TRUE(absl::IsDataLoss(opened.status())) << name << ": " << opened.status();
      EXPECT_THAT(std::string(opened.status().message()), HasSubstr(name));
    }
    std::filesystem::remove(path);
    EXPECT_FALSE(OpenCheckpoint(written->path()).ok()) << name;
    WriteText(path, whole);
  }
  EXPECT_TRUE(OpenCheckpoint(written->path()).ok());
  const std::string path = absl::StrCat(written->path(), "/", kManifestName);
  WriteText(path, ReadText(path).substr(0, 40));
  EXPECT_FALSE(OpenCheckpoint(written->path()).ok());
}

TEST_P(CheckpointTest, RefusesOptimizerFileOfAnotherModel) {
  const auto written = Write(7);
  ASSERT_TRUE(written.ok());
  std::string json = ReadText(folder_ / "model/config.json");
  const size_t at = json.find("\"intermediate_size\": 64");
  ASSERT_NE(at, std::string::npos);
  json.replace(at, 23, "\"intermediate_size\": 48");
  WriteText(folder_ / "other.json", json);
  auto parameters = *ParameterSet::Create(*ParseModelConfig(json, "other.json"), GetParam().second,
                                          testing::TestDevice());
  const std::unique_ptr<Optimizer> optimizer = testing::Build(testing::AdamWConfig(), *parameters);
  const absl::Status status = ReadOptimizerFile(written->path(), *parameters, *optimizer);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("gate_proj.weight.exp_avg"));
}

TEST_P(CheckpointTest, FinalModelHasNoRunState) {
  const auto written = Write(7);
  ASSERT_TRUE(written.ok());
  auto writer = FolderWriter::Create(folder_ / ".tmp-a3-final");
  ASSERT_TRUE(WriteModelFolder(*parameters_, folder_ / "model", **writer).ok());
  ASSERT_TRUE((*writer)
                  ->Publish({.job = "jobs/x",
                             .attempt = 3,
                             .step = 7,
                             .kind = "final",
                             .config_digest_hex = std::string(64, 'a'),
                             .create_time = TimestampText()},
                            folder_ / "final", [] { return absl::OkStatus(); })
                  .ok());
  EXPECT_EQ(ReadText(folder_ / "final/tokenizer.json"), ReadText(folder_ / "model/tokenizer.json"));
  const auto opened = OpenCheckpoint(folder_ / "final");
  EXPECT_TRUE(absl::IsFailedPrecondition(opened.status()));
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("state: weights"));
}

TEST_P(CheckpointTest, OlderAttemptMayNotPublish) {
  ASSERT_TRUE(WritePublisher(folder_.path(), 4).ok());
  const auto written = Write(7);
  EXPECT_TRUE(absl::IsFailedPrecondition(written.status())) << written.status();
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "checkpoints"));
}

TEST_P(CheckpointTest, FailedWriteKeepsEarlierCheckpoints) {
  std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_TRUE(Write(7).ok());
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  // In the middle of the largest file.
  const rlimit small{.rlim_cur = 100'000, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto failed = Write(8);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_FALSE(failed.ok());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ / "checkpoints"), {}), 1);
  EXPECT_TRUE(OpenCheckpoint(folder_ / "checkpoints/step-00000007-a3").ok());
}

// The sizes of the files are those of the checkpoint that was written.
TEST_P(CheckpointTest, EstimatesTheBytesOfItsFiles) {
  const auto written = Write(7);
  ASSERT_TRUE(written.ok()) << written.status();
  const CheckpointSize size = SizeOfCheckpoint(*parameters_, JobConfig(), folder_ / "model");
  EXPECT_NEAR(static_cast<double>(size.checkpoint_bytes),
              static_cast<double>(written->size_bytes()), 8 << 10)
      << "the state of the run is estimated";
}

INSTANTIATE_TEST_SUITE_P(
    Dtypes, CheckpointTest,
    ::testing::Values(std::pair{"fp32", Precision::kFp32}, std::pair{"bf16", Precision::kFp32},
                      std::pair{"bf16", Precision::kBf16}, std::pair{"fp32", Precision::kBf16},
                      std::pair{"bf16", Precision::kBf16Sr}, std::pair{"fp32", Precision::kBf16Sr}),
    [](const auto& info) {
      const Precision precision = info.param.second;
      return absl::StrCat(info.param.first, precision == Precision::kFp32   ? "_in_fp32"
                                            : precision == Precision::kBf16 ? "_in_bf16"
                                                                            : "_in_bf16_sr");
    });

}  // namespace
}  // namespace trainerd::engine
