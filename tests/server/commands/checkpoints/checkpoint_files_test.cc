// SPDX-License-Identifier: Apache-2.0
// Which files can be downloaded, and what protects their checkpoints.
#include "server/commands/checkpoints/checkpoint_files.h"

#include "proto/base/crc32c.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

class CheckpointFilesTest : public JobManagerTest {
 protected:
  CheckpointFilesTest() {
    AddJob(*store_, "a", dir_ / "run");
    AddCheckpoint("jobs/a", "step-1", 1);
  }
  absl::StatusOr<CheckpointFiles::File> Find(const std::string& request) {
    return files_.Find(FromText<v1::DownloadCheckpointRequest>(request));
  }
  std::string Reason(const std::string& request) {
    return JobManagerTest::Reason(Find(request).status());
  }

  static constexpr char kName[] = "jobs/a/checkpoints/step-1";
  DownloadsInUse in_use_{*store_};
  CheckpointFiles files_{*store_, in_use_};
};

TEST_F(CheckpointFilesTest, FindsTheManifestAndWhatItLists) {
  const auto manifest = Find("name: 'jobs/a/checkpoints/step-1'");
  ASSERT_OK(manifest.status());
  EXPECT_EQ(manifest->path, dir_ / "step-1/MANIFEST.json");
  const auto model = Find("name: 'jobs/a/checkpoints/step-1' file: 'model.safetensors'");
  ASSERT_OK(model.status());
  EXPECT_EQ(model->size_bytes, 17);
  v1::FileChunk chunk;
  ASSERT_OK(files_.Read(*model, 11, &chunk));
  EXPECT_EQ(chunk.data(), "step 1");
  EXPECT_EQ(chunk.offset(), 11);
  EXPECT_EQ(chunk.file_bytes(), 17);
  EXPECT_EQ(chunk.crc32c(), Crc32c("step 1"));
  ASSERT_OK(files_.Read(*model, 17, &chunk));
  EXPECT_EQ(chunk.data(), "") << "at the end";
}

TEST_F(CheckpointFilesTest, RefusesEveryOtherName) {
  dir_.Write("step-1/secret", "not in the manifest");
  dir_.Write("d.json", "x");
  for (const char* file : {"secret", "../d.json", "/etc/passwd", ".", "..", "a/b",
                           "model.safetensor", "./model.safetensors", "model.safetensors/"}) {
    v1::DownloadCheckpointRequest request;
    request.set_name(kName);
    request.set_file(file);
    EXPECT_EQ(JobManagerTest::Reason(files_.Find(request).status()), "FILE_NOT_FOUND") << file;
  }
  EXPECT_TRUE(absl::IsOutOfRange(
      Find("name: 'jobs/a/checkpoints/step-1' file: 'model.safetensors' offset: 18").status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Find("name: 'jobs/a/checkpoints/step-1' offset: -1").status()));
}

TEST_F(CheckpointFilesTest, NeverFollowsALink) {
  std::filesystem::remove(dir_ / "step-1/model.safetensors");
  std::filesystem::create_symlink(dir_ / "d.jsonl", dir_ / "step-1/model.safetensors");
  EXPECT_FALSE(Find("name: 'jobs/a/checkpoints/step-1' file: 'model.safetensors'").ok());
}

TEST_F(CheckpointFilesTest, NamesWhatDoesNotExist) {
  EXPECT_EQ(Reason("name: 'jobs/a/checkpoints/step-2'"), "CHECKPOINT_NOT_FOUND");
  EXPECT_EQ(Reason("name: 'jobs/b/checkpoints/step-1'"), "JOB_NOT_FOUND");
  EXPECT_EQ(Reason("name: 'jobs/b/final'"), "JOB_NOT_FOUND");
  EXPECT_EQ(Reason("name: 'jobs/a/final'"), "CHECKPOINT_NOT_FOUND") << "it has not ended";
  for (const char* name : {"", "a", "jobs/a", "jobs/a/start", "jobs/a/checkpoints/",
                           "jobs/a/final/", "jobs/a/checkpoints/../x", "a/final", "jobs/-/final"}) {
    EXPECT_EQ(Reason("name: '" + std::string(name) + "'"), "INVALID_NAME") << name;
  }
}

TEST_F(CheckpointFilesTest, FindsTheFinalModel) {
  std::filesystem::create_directories(dir_ / "run");
  std::filesystem::rename(dir_ / "step-1", dir_ / "run/final");
  const auto model = Find("name: 'jobs/a/final' file: 'model.safetensors'");
  ASSERT_OK(model.status());
  EXPECT_EQ(model->path, dir_ / "run/final/model.safetensors");
}

TEST_F(CheckpointFilesTest, RefusesADeletedCheckpoint) {
  const auto model = Find("name: 'jobs/a/checkpoints/step-1' file: 'model.safetensors'");
  ASSERT_OK(model.status());
  // The files are removed first, the row changes later.
  std::filesystem::remove_all(dir_ / "step-1");
  v1::FileChunk chunk;
  EXPECT_EQ(JobManagerTest::Reason(files_.Read(*model, 0, &chunk)), "CHECKPOINT_DELETED");
  EXPECT_EQ(Reason("name: 'jobs/a/checkpoints/step-1'"), "CHECKPOINT_DELETED");
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    auto row = FindCheckpoint(t.db(), "a", "step-1");
    (*row)->checkpoint.set_deleted(true);
    return StoreCheckpoint(t.db(), (*row)->checkpoint);
  }));
  EXPECT_EQ(Reason("name: 'jobs/a/checkpoints/step-1'"), "CHECKPOINT_DELETED");
}

TEST_F(CheckpointFilesTest, RefusesAManifestThatIsNotTheOneInTheLedger) {
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    auto row = FindCheckpoint(t.db(), "a", "step-1");
    (*row)->checkpoint.set_manifest_digest(*ManifestDigest(dir_ / "step-1"));
    return StoreCheckpoint(t.db(), (*row)->checkpoint);
  }));
  ASSERT_OK(Find("name: 'jobs/a/checkpoints/step-1'").status());
  Manifest manifest = *ReadManifest(dir_ / "step-1");
  manifest.step = 2;
  dir_.Write("step-1/MANIFEST.json", ManifestToJson(manifest));
  EXPECT_EQ(Reason("name: 'jobs/a/checkpoints/step-1'"), "CHECKPOINT_DAMAGED");
}

TEST_F(CheckpointFilesTest, NotesEachReadForRetention) {
  EXPECT_FALSE(in_use_.Names().contains(kName));
  EXPECT_FALSE(Find("name: 'jobs/a/checkpoints/step-2'").ok());
  EXPECT_TRUE(in_use_.Names().empty()) << "only what exists";
  ASSERT_OK(Find("name: 'jobs/a/checkpoints/step-1'").status());
  EXPECT_TRUE(in_use_.Names().contains(kName));
}

}  // namespace
}  // namespace trainerd::server
