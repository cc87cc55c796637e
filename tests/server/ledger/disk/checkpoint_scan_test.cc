// SPDX-License-Identifier: Apache-2.0
// Checkpoint folders made by hand with real manifests: what is found, what is not, and removal
// through the trash.
#include "server/ledger/disk/checkpoint_scan.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"
#include "proto/base/hash.h"
#include "tests/io_faults.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

class CheckpointScanTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(run_dir_ + "/checkpoints"); }
  void Make(const std::string& folder, int64_t step, bool manifest = true) {
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/model.safetensors") << "weights of " << step;
    Manifest m{.job = "jobs/abc", .attempt = 2, .step = step};
    m.parent = "jobs/abc/checkpoints/p";
    m.kind = "checkpoint";
    m.config_digest_hex = std::string(64, 'a');
    m.create_time = "2026-01-02T03:04:05.5Z";
    m.has_optimizer = true;
    m.tokens = 100 * step;
    const std::string bytes = ReadFile(folder + "/model.safetensors").value();
    m.files["model.safetensors"] = {.size_bytes = static_cast<int64_t>(bytes.size()),
                                    .xxh3_hex = ToHex(Xxh3(bytes))};
    if (manifest) std::ofstream(folder + "/MANIFEST.json") << ManifestToJson(m);
  }
  TempDir temp_;
  const std::string root_ = temp_.path(), run_dir_ = root_ + "/runs/abc";
};

TEST_F(CheckpointScanTest, FindsOnlyFoldersWithAManifest) {
  Make(run_dir_ + "/checkpoints/step-00000005-a2", 5);
  Make(run_dir_ + "/checkpoints/step-00000009-a2", 9, /*manifest=*/false);
  Make(run_dir_ + "/checkpoints/.tmp-a2-10", 10);
  std::filesystem::create_directories(run_dir_ + "/checkpoints/bad");
  std::ofstream(run_dir_ + "/checkpoints/bad/MANIFEST.json") << "{\"version\": 1,";
  const std::vector<FoundCheckpoint> found = ScanCheckpoints(run_dir_).value();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(VerifyCheckpoint(found[0]).ok());
  const v1::Checkpoint row = ToCheckpoint(found[0]);
  EXPECT_EQ(row.name(), "jobs/abc/checkpoints/step-00000005-a2");
  EXPECT_EQ(row.step(), 5);
  EXPECT_EQ(row.attempt(), 2);
  EXPECT_EQ(row.parent(), "jobs/abc/checkpoints/p");
  EXPECT_EQ(row.path(), run_dir_ + "/checkpoints/step-00000005-a2");
  EXPECT_EQ(row.manifest_digest().size(), 16u);
  EXPECT_EQ(row.config_digest(), std::string(32, '\xaa'));
  EXPECT_EQ(row.create_time().seconds(), 1767323045);
  EXPECT_EQ(row.create_time().nanos(), 500000000);
  EXPECT_TRUE(row.has_optimizer());
  EXPECT_EQ(row.tokens(), 500);
  EXPECT_FALSE(row.verified());
}

TEST_F(CheckpointScanTest, FindsNothingWithoutAFolder) {
  EXPECT_TRUE(ScanCheckpoints(root_ + "/runs/none").value().empty());
}

TEST_F(CheckpointScanTest, NamesTheDamagedFile) {
  const std::string folder = run_dir_ + "/checkpoints/step-00000005-a2";
  Make(folder, 5);
  std::ofstream(folder + "/model.safetensors") << "weights of 6";
  const absl::Status status = VerifyCheckpoint(ScanCheckpoints(run_dir_).value().at(0));
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.safetensors"));
}

TEST_F(CheckpointScanTest, SkipsOtherFilesAndFolders) {
  std::ofstream(run_dir_ + "/checkpoints/a file") << "x";
  EXPECT_TRUE(ScanCheckpoints(run_dir_).value().empty());
}

TEST_F(CheckpointScanTest, ReportsAnUnreadableManifest) {
  Make(run_dir_ + "/checkpoints/step-00000005-a2", 5);
  Make(run_dir_ + "/checkpoints/step-00000006-a2", 6);
  for (const IoFaults::Call call : {IoFaults::Call::kRead, IoFaults::Call::kOpen}) {
    const IoFault fault(call, "step-00000006-a2/MANIFEST.json",
                        call == IoFaults::Call::kRead ? EIO : EACCES);
    const absl::Status status = ScanCheckpoints(run_dir_).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr("step-00000006-a2"));
  }
  EXPECT_EQ(ScanCheckpoints(run_dir_).value().size(), 2u);
}

TEST_F(CheckpointScanTest, ReportsAnUnreadableFileAsUnavailable) {
  Make(run_dir_ + "/checkpoints/step-00000005-a2", 5);
  const FoundCheckpoint found = ScanCheckpoints(run_dir_).value().at(0);
  const IoFault fault(IoFaults::Call::kRead, "model.safetensors", EIO);
  const absl::Status status = VerifyCheckpoint(found);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.safetensors"));
}

TEST_F(CheckpointScanTest, QuickCheckDistinguishesChangedMissingAndUnreadable) {
  const std::string folder = run_dir_ + "/checkpoints/step-00000005-a2";
  Make(folder, 5);
  const v1::Checkpoint row = ToCheckpoint(ScanCheckpoints(run_dir_).value().at(0));
  EXPECT_TRUE(QuickCheckCheckpoint(row).ok());
  {
    const IoFault fault(IoFaults::Call::kRead, "MANIFEST.json", EIO);
    EXPECT_TRUE(absl::IsUnavailable(QuickCheckCheckpoint(row))) << QuickCheckCheckpoint(row);
  }
  std::ofstream(folder + "/model.safetensors", std::ios::app) << "longer";
  EXPECT_TRUE(absl::IsDataLoss(QuickCheckCheckpoint(row))) << QuickCheckCheckpoint(row);
  Make(folder, 6);
  EXPECT_TRUE(absl::IsDataLoss(QuickCheckCheckpoint(row))) << "another manifest";
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(absl::IsNotFound(QuickCheckCheckpoint(row))) << QuickCheckCheckpoint(row);
}

TEST_F(CheckpointScanTest, RequiresTheManifestOfTheFinalModel) {
  EXPECT_TRUE(absl::IsNotFound(VerifyFinal(run_dir_ + "/final").status()));
  Make(run_dir_ + "/final", 7);
  EXPECT_EQ(VerifyFinal(run_dir_ + "/final").value().step, 7);
  std::filesystem::remove(run_dir_ + "/final/model.safetensors");
  EXPECT_TRUE(absl::IsDataLoss(VerifyFinal(run_dir_ + "/final").status()));
}

TEST_F(CheckpointScanTest, RemovesThroughTheTrashAndCanRepeat) {
  const std::string folder = run_dir_ + "/checkpoints/step-00000005-a2";
  Make(folder, 5);
  // A crash during an earlier removal left something under the name.
  Make(run_dir_ + "/.trash/step-00000005-a2", 5);
  ASSERT_TRUE(RemoveCheckpoint(run_dir_, "step-00000005-a2").ok());
  EXPECT_FALSE(std::filesystem::exists(folder));
  EXPECT_FALSE(std::filesystem::exists(run_dir_ + "/.trash/step-00000005-a2"));
  EXPECT_TRUE(RemoveCheckpoint(run_dir_, "step-00000005-a2").ok());
  Make(run_dir_ + "/.trash/step-00000006-a2", 6);
  ASSERT_TRUE(EmptyTrash(run_dir_).ok());
  EXPECT_FALSE(std::filesystem::exists(run_dir_ + "/.trash"));
  EXPECT_TRUE(EmptyTrash(run_dir_).ok());
  for (const char* id : {"", "..", ".trash", "a/b", "../abc"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(RemoveCheckpoint(run_dir_, id))) << id;
  }
}

TEST_F(CheckpointScanTest, RemovesAWholeRunDirectory) {
  Make(run_dir_ + "/checkpoints/step-00000005-a2", 5);
  ASSERT_TRUE(RemoveRunDirectory(run_dir_).ok());
  EXPECT_FALSE(std::filesystem::exists(run_dir_));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/runs/.trash/abc"));
  EXPECT_TRUE(RemoveRunDirectory(run_dir_).ok());
}

}  // namespace
}  // namespace trainerd::server
