// SPDX-License-Identifier: Apache-2.0
// A folder appears complete under its final name, or not at all.
#include "engine/checkpoint/folder_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "tests/engine/checkpoint/fsync_log.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using testing::ReadText;

absl::Status Allowed() { return absl::OkStatus(); }

Manifest Example() {
  return {.job = "jobs/x",
          .attempt = 1,
          .step = 5,
          .kind = "final",
          .config_digest_hex = std::string(64, 'a'),
          .create_time = "2026-01-02T03:04:05Z"};
}

std::unique_ptr<FolderWriter> Writer(const TempDir& folder) {
  auto writer = FolderWriter::Create(folder / ".tmp-a1-5");
  EXPECT_TRUE(writer.ok()) << writer.status();
  return *std::move(writer);
}

TEST(FolderWriterTest, PublishesWithManifestAndVerifies) {
  TempDir folder;
  auto writer = Writer(folder);
  ASSERT_TRUE(writer->WriteText("a.txt", "alpha").ok());
  ASSERT_TRUE(writer->WriteText("b.txt", "").ok());
  ASSERT_TRUE(writer->Publish(Example(), folder / "step", Allowed).ok());
  EXPECT_FALSE(std::filesystem::exists(folder / ".tmp-a1-5"));
  const auto manifest = ReadManifest(folder / "step");
  ASSERT_TRUE(manifest.ok());
  EXPECT_EQ(manifest->files.size(), 2u);
  EXPECT_EQ(manifest->total_bytes(), 5);
  EXPECT_TRUE(VerifyFromDisk(folder / "step").ok());
}

TEST(FolderWriterTest, CopiesFilesOfAFolderInTheFolder) {
  TempDir folder;
  const std::string source = folder / "source";
  std::filesystem::create_directories(source + "/templates");
  Manifest manifest;
  for (const char* name : {"a.txt", "templates/b.txt"}) {
    ASSERT_TRUE(WriteFileAtomic(source + "/" + name, "text", 0644).ok());
    manifest.files[name] = {4, ToHex(Xxh3("text"))};
  }
  auto writer = Writer(folder);
  ASSERT_TRUE(CopyFolder(source, manifest, *writer).ok());
  ASSERT_TRUE(writer->Publish(Example(), folder / "step", Allowed).ok());
  EXPECT_EQ(ReadManifest(folder / "step")->files.size(), 2u);
  EXPECT_TRUE(std::filesystem::exists(folder / "step/templates/b.txt"));
  EXPECT_TRUE(VerifyFromDisk(folder / "step").ok());
}

TEST(FolderWriterTest, RemovesFolderWithoutPublish) {
  TempDir folder;
  {
    auto writer = Writer(folder);
    ASSERT_TRUE(writer->WriteText("a.txt", "alpha").ok());
    const absl::Status status = writer->Publish(
        Example(), folder / "step", [] { return absl::FailedPreconditionError("fenced"); });
    EXPECT_THAT(std::string(status.message()), HasSubstr("fenced"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(FolderWriterTest, RemovesFolderThatFailsVerification) {
  TempDir folder;
  auto writer = Writer(folder);
  ASSERT_TRUE(writer->WriteText("a.txt", "alpha").ok());
  writer->Add({{"a.txt", {.size_bytes = 5, .xxh3_hex = std::string(32, '0')}}});
  const absl::Status status = writer->Publish(Example(), folder / "step", Allowed);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("a.txt"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(FolderWriterTest, RefusesUnreadableManifest) {
  TempDir folder;
  auto writer = Writer(folder);
  ASSERT_TRUE(writer->WriteText("a.txt", "alpha").ok());
  EXPECT_FALSE(writer->Publish({.kind = "nonsense"}, folder / "step", Allowed).ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(FolderWriterTest, ReplacesOlderFolder) {
  TempDir folder;
  for (const char* text : {"old", "new"}) {
    auto writer = Writer(folder);
    ASSERT_TRUE(writer->WriteText("a.txt", text).ok());
    ASSERT_TRUE(writer->Publish(Example(), folder / "final", Allowed).ok());
  }
  EXPECT_EQ(ReadText(folder / "final/a.txt"), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(FolderWriterTest, DetectsChangedSourceWhileCopying) {
  TempDir folder;
  auto writer = Writer(folder);
  ASSERT_TRUE(writer->WriteText("a.txt", "alpha").ok());
  ASSERT_TRUE(writer->Publish(Example(), folder / "final", Allowed).ok());
  const auto manifest = ReadManifest(folder / "final");
  {
    auto copy = FolderWriter::Create(folder / "copy.tmp");
    ASSERT_TRUE(CopyFolder(folder / "final", *manifest, **copy).ok());
    ASSERT_TRUE((*copy)->Publish(*manifest, folder / "copy", Allowed).ok());
  }
  EXPECT_EQ(ReadText(folder / "copy/a.txt"), "alpha");
  testing::WriteText(folder / "final/a.txt", "alphA");
  auto copy = FolderWriter::Create(folder / "copy.tmp");
  EXPECT_TRUE(absl::IsDataLoss(CopyFolder(folder / "final", *manifest, **copy)));
}

TEST(FolderWriterTest, FailsAndRemovesFilesAtSizeLimit) {
  std::signal(SIGXFSZ, SIG_IGN);
  TempDir folder;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = 100, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  {
    auto writer = Writer(folder);
    const absl::Status status = writer->WriteText("a.txt", std::string(1000, 'x'));
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr("a.txt"));
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

// A name is durable once the folder that holds it was fsynced: every level that was made.
TEST(FolderWriterTest, SyncsNamesOfMissingParents) {
  TempDir folder;
  testing::FsyncLog& log = testing::FsyncLog::Get();
  log.Clear();
  auto writer = FolderWriter::Create(folder / "run/checkpoints/.tmp-a1-5");
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(log.Has(folder.path())) << "run is in it";
  EXPECT_TRUE(log.Has(folder / "run")) << "checkpoints is in it";
  ASSERT_TRUE((*writer)->Publish(Example(), folder / "run/checkpoints/step", Allowed).ok());
  EXPECT_TRUE(log.Has(folder / "run/checkpoints")) << "step is in it";
}

}  // namespace
}  // namespace trainerd::engine
