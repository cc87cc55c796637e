// SPDX-License-Identifier: Apache-2.0
// Pulls over connections that break, and what an interrupted one leaves.
#include "client/transfer/checkpoint_pull.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/client/transfer/transfer_fixture.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;

constexpr char kModel[] = "jobs/4f0123456789/checkpoints/step-00000005-a1";

class CheckpointPullTest : public TransferTest {
 protected:
  CheckpointPullTest() {
    MakeCheckpoint({{"model.safetensors", Bytes(10'500)},
                    {"empty", ""},
                    {"templates/tool.jinja", Bytes(1'000, 2)}});
    v1::Job& job = store_.jobs.emplace_back();
    job.set_name("jobs/4f0123456789");
    job.mutable_config()->set_name("sft");
  }
  RunResult Pull(const std::string& folder = "copy") {
    return Run({"checkpoints", "pull", "sft/checkpoints/step-00000005-a1", folder, "-o", "json"});
  }
  void ExpectCopy(const RunResult& result, const std::string& folder = "copy") {
    EXPECT_EQ(result.code, kDone) << result.err;
    EXPECT_EQ(FilesOf(folder_ / folder), state_.files);
    EXPECT_FALSE(std::filesystem::exists(folder_ / (folder + ".part")));
  }
  static int64_t Received(const RunResult& result) {
    return nlohmann::json::parse(result.out)["received_bytes"].get<int64_t>();
  }
};

TEST_F(CheckpointPullTest, CopiesEveryFileOfTheManifest) {
  const RunResult result = Pull();
  ExpectCopy(result);
  const nlohmann::json document = nlohmann::json::parse(result.out);
  EXPECT_EQ(document["name"], kModel);
  EXPECT_EQ(document["path"], folder_ / "copy");
  EXPECT_EQ(document["files"], 4);
  EXPECT_EQ(document["received_bytes"], 11'500);
  EXPECT_EQ(document["bytes"], 11'500 + state_.files[kManifestName].size());
  // Again: nothing is left to do.
  const size_t calls = state_.downloads.size();
  const RunResult again = Pull();
  ExpectCopy(again);
  EXPECT_EQ(Received(again), 0);
  EXPECT_EQ(state_.downloads.size(), calls + 1) << "only the manifest";
}

TEST_F(CheckpointPullTest, NamesTheFolderAfterTheCheckpoint) {
  const RunResult result = Run({"checkpoints", "pull", "sft/checkpoints/step-00000005-a1"});
  ExpectCopy(result, "step-00000005-a1");
  EXPECT_EQ(result.out, (folder_ / "step-00000005-a1") + "\n");
  EXPECT_EQ(Run({"checkpoints", "pull", "sft/final"}).code, kDone);
  EXPECT_EQ(state_.downloads.back().name(), "jobs/4f0123456789/final");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "4f0123456789-final"));
}

TEST_F(CheckpointPullTest, AJobStandsForItsFinalModelOrItsResumePoint) {
  EXPECT_EQ(Run({"checkpoints", "pull", "sft", "a"}).code, kRefused) << "no checkpoint yet";
  store_.jobs[0].set_latest_checkpoint(kModel);
  EXPECT_EQ(Run({"checkpoints", "pull", "sft", "a"}).code, kDone);
  EXPECT_EQ(state_.downloads.back().name(), kModel);
  store_.jobs[0].set_state(v1::Job::SUCCEEDED);
  EXPECT_EQ(Run({"checkpoints", "pull", "sft", "b"}).code, kDone);
  EXPECT_EQ(state_.downloads.back().name(), "jobs/4f0123456789/final");
}

TEST_F(CheckpointPullTest, ContinuesAtTheNextByteAfterEachBreak) {
  state_.break_after = 1;
  ExpectCopy(Pull());
  // One call per chunk of the model and one for its end, each at the next byte.
  std::vector<int64_t> offsets;
  for (const v1::DownloadCheckpointRequest& request : state_.downloads) {
    if (request.file() == "model.safetensors") offsets.push_back(request.offset());
  }
  ASSERT_EQ(offsets.size(), 11u);
  for (size_t i = 0; i < offsets.size(); ++i) EXPECT_EQ(offsets[i], static_cast<int64_t>(i) * 1000);
}

TEST_F(CheckpointPullTest, RequestsADamagedChunkAgain) {
  state_.damage = 1;
  ExpectCopy(Pull());
}

TEST_F(CheckpointPullTest, ContinuesWhatAnInterruptedPullLeft) {
  std::filesystem::create_directories(folder_ / "copy.part");
  folder_.Write("copy.part/MANIFEST.json", state_.files[kManifestName]);
  folder_.Write("copy.part/model.safetensors", state_.files["model.safetensors"].substr(0, 4'321));
  const RunResult result = Pull();
  ExpectCopy(result);
  EXPECT_EQ(Received(result), 11'500 - 4'321);
}

TEST_F(CheckpointPullTest, FetchesAFileAgainWhoseRestIsDamaged) {
  folder_.Write("copy.part/MANIFEST.json", state_.files[kManifestName]);
  folder_.Write("copy.part/model.safetensors", Bytes(4'321, 99));
  folder_.Write("copy.part/templates/tool.jinja", Bytes(5'000, 99));
  ExpectCopy(Pull());
}

TEST_F(CheckpointPullTest, DropsTheRestOfAnotherCheckpoint) {
  MakeCheckpoint({{"old", Bytes(10)}});
  folder_.Write("copy.part/MANIFEST.json", state_.files[kManifestName]);
  folder_.Write("copy.part/old", Bytes(5));
  MakeCheckpoint({{"new", Bytes(3'000)}});
  ExpectCopy(Pull());
}

TEST_F(CheckpointPullTest, KeepsAFolderThatIsNotItsOwn) {
  folder_.Write("copy/mine", "x");
  const RunResult result = Pull();
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("exists and is not a copy"));
  EXPECT_EQ(FilesOf(folder_ / "copy").size(), 1u);
  folder_.Write("other.part/mine", "x");
  EXPECT_EQ(Pull("other").code, kRefused);
  EXPECT_EQ(FilesOf(folder_ / "other.part").size(), 1u);
  folder_.Write("file", "x");
  EXPECT_EQ(Pull("file").code, kRefused);
  // A copy that was changed is not replaced either.
  ExpectCopy(Pull("third"), "third");
  folder_.Write("third/model.safetensors", "x");
  EXPECT_EQ(Pull("third").code, kRefused);
}

TEST_F(CheckpointPullTest, FillsAnEmptyFolder) {
  std::filesystem::create_directories(folder_ / "copy");
  ExpectCopy(Pull());
}

TEST_F(CheckpointPullTest, ReportsAFileThatDiffersFromTheManifest) {
  state_.files["model.safetensors"][7] ^= 1;
  const RunResult result = Pull();
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("model.safetensors has the XXH3-128"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "copy"));
  // A file of another size is not even received.
  state_.files["model.safetensors"].pop_back();
  EXPECT_THAT(Pull().err, HasSubstr("10499 bytes"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "copy"));
}

TEST_F(CheckpointPullTest, EndsAtARefusalOfTheDaemon) {
  state_.refusal = Refuse(grpc::FAILED_PRECONDITION, "it was deleted", "CHECKPOINT_DELETED");
  const RunResult result = Pull();
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("CHECKPOINT_DELETED"));
  EXPECT_EQ(state_.downloads.size(), 1u);
}

TEST_F(CheckpointPullTest, OnePullAtATimeIntoAFolder) {
  std::filesystem::create_directories(folder_ / "copy.part");
  const int other = ::open((folder_ / "copy.part").c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::flock(other, LOCK_EX), 0);
  const RunResult result = Pull();
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("another trainctl"));
  ::close(other);
  ExpectCopy(Pull());
}

TEST_F(CheckpointPullTest, KeepsWhatItHasWhenItIsInterrupted) {
  auto connection = Connection::Open(address());
  ASSERT_TRUE(connection.ok()) << connection.status();
  int64_t bytes = 0;
  const PullOptions options{.model = kModel,
                            .folder = folder_ / "copy",
                            .is_interrupted = [&] { return bytes >= 3'000; },
                            .on_progress =
                                [&](int64_t done, int64_t total) {
                                  bytes = done;
                                  EXPECT_EQ(total, 11'500);
                                }};
  const absl::StatusOr<PullResult> result = PullCheckpoint(**connection, options);
  EXPECT_TRUE(absl::IsCancelled(result.status())) << result.status();
  EXPECT_FALSE(std::filesystem::exists(folder_ / "copy"));
  const RunResult rest = Pull();
  ExpectCopy(rest);
  EXPECT_EQ(Received(rest), 11'500 - 3'000);
}

}  // namespace
}  // namespace trainerd::client
