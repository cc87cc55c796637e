// SPDX-License-Identifier: Apache-2.0
// Expectations: what a manifest says against folders that were made to agree or to differ in one
// place.
#include "proto/contract/run_dir/manifest.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "proto/base/atomic_file.h"
#include "proto/base/hash.h"
#include "tests/temp_dir.h"

namespace trainerd {
namespace {

// A folder with two files and the manifest that fits it.
Manifest WriteFolder(const TempDir& dir) {
  Manifest manifest;
  manifest.job = "jobs/4f00";
  manifest.attempt = 2;
  manifest.step = 500;
  manifest.parent = "jobs/4f00/checkpoints/step-00000400-a1";
  manifest.kind = "checkpoint";
  manifest.config_digest_hex = ToHex(Sha256("config"));
  manifest.create_time = "2026-01-02T03:04:05Z";
  manifest.has_optimizer = true;
  manifest.tokens = 123456789012;
  manifest.adapter = true;
  for (const std::string& name : {std::string("model.safetensors"), std::string("config.json")}) {
    const std::string contents(name == "config.json" ? 10 : 3000000, name[0]);
    EXPECT_TRUE(WriteFileAtomic(dir / name, contents).ok());
    manifest.files[name] = {static_cast<int64_t>(contents.size()), ToHex(Xxh3(contents))};
  }
  EXPECT_TRUE(WriteFileAtomic(dir / kManifestName, ManifestToJson(manifest)).ok());
  return manifest;
}

TEST(ManifestTest, ReadsBackEveryField) {
  TempDir dir;
  const Manifest written = WriteFolder(dir);
  const auto read = ReadManifest(dir.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->version, 1);
  EXPECT_EQ(read->job, written.job);
  EXPECT_EQ(read->attempt, written.attempt);
  EXPECT_EQ(read->step, written.step);
  EXPECT_EQ(read->parent, written.parent);
  EXPECT_EQ(read->kind, written.kind);
  EXPECT_EQ(read->config_digest_hex, written.config_digest_hex);
  EXPECT_EQ(read->create_time, written.create_time);
  EXPECT_TRUE(read->has_optimizer);
  EXPECT_EQ(read->tokens, 123456789012);
  EXPECT_TRUE(read->adapter);
  EXPECT_EQ(read->total_bytes(), 3000010);
  EXPECT_EQ(ManifestToJson(*read), ManifestToJson(written));
  EXPECT_TRUE(VerifyFolder(dir.path(), *read).ok());
  EXPECT_EQ(*ManifestDigest(dir.path()), Xxh3(*ReadFile(dir / kManifestName)));
}

TEST(ManifestTest, SortsKeys) {
  const std::string json = ManifestToJson(Manifest{});
  EXPECT_LT(json.find("\"attempt\""), json.find("\"config_digest\""));
  EXPECT_LT(json.find("\"step\""), json.find("\"version\""));
}

TEST(ManifestTest, ReportsWhichFileDiffers) {
  TempDir dir;
  const Manifest manifest = WriteFolder(dir);
  const std::string path = dir / "model.safetensors";
  std::string contents = *ReadFile(path);
  // One bit, in the middle.
  contents[contents.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, contents).ok());
  absl::Status status = VerifyFolder(dir.path(), manifest);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "model.safetensors has the XXH3-128")) << status;
  ASSERT_TRUE(WriteFileAtomic(path, contents.substr(1)).ok());
  status = VerifyFolder(dir.path(), manifest);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "2999999 bytes, its manifest says 3000000"))
      << status;
  std::filesystem::remove(path);
  status = VerifyFolder(dir.path(), manifest);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "model.safetensors is missing")) << status;
  std::filesystem::create_directory(path);
  EXPECT_EQ(VerifyFolder(dir.path(), manifest).code(), absl::StatusCode::kDataLoss);
}

TEST(ManifestTest, DoesNotFollowLinks) {
  TempDir dir;
  const Manifest manifest = WriteFolder(dir);
  std::filesystem::rename(dir / "config.json", dir / "elsewhere");
  std::filesystem::create_symlink(dir / "elsewhere", dir / "config.json");
  EXPECT_FALSE(VerifyFolder(dir.path(), manifest).ok());
}

TEST(ManifestTest, ReportsMissingManifestAsNotFound) {
  TempDir dir;
  EXPECT_TRUE(absl::IsNotFound(ReadManifest(dir.path()).status()));
  EXPECT_TRUE(absl::IsNotFound(ManifestDigest(dir.path()).status()));
}

TEST(ManifestTest, RefusesHugeManifestUnread) {
  TempDir dir;
  ASSERT_TRUE(WriteFileAtomic(dir / kManifestName, std::string((4 << 20) + 1, ' ')).ok());
  EXPECT_EQ(ReadManifest(dir.path()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(ManifestTest, RefusesEveryTruncation) {
  TempDir dir;
  const std::string json = ManifestToJson(WriteFolder(dir));
  // The last two bytes are "}\n".
  for (size_t size = 0; size + 2 <= json.size(); ++size) {
    ASSERT_EQ(ParseManifest(json.substr(0, size)).status().code(), absl::StatusCode::kDataLoss)
        << size;
  }
}

TEST(ManifestTest, RefusesValuesOutOfRange) {
  TempDir dir;
  const std::string json = ManifestToJson(WriteFolder(dir));
  const auto refused = [&](const std::string& from, const std::string& to) {
    const std::string changed = absl::StrReplaceAll(json, {{from, to}});
    EXPECT_NE(changed, json) << from;
    const absl::Status status = ParseManifest(changed).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << to << ": " << status;
  };
  refused("\"config.json\"", "\"../config.json\"");
  refused("\"config.json\"", "\"..\"");
  refused("\"config.json\"", "\"a/../config.json\"");
  refused("\"config.json\"", "\"a/..\"");
  refused("\"config.json\"", "\"a/\"");
  refused("\"config.json\"", "\"a//b\"");
  refused("\"config.json\"", "\"\"");
  refused("\"config.json\"", "\"/etc/passwd\"");
  refused("\"config.json\"", "\"MANIFEST.json\"");
  refused("\"size_bytes\": 10", "\"size_bytes\": -1");
  refused("\"size_bytes\": 10", "\"size_bytes\": 1.5");
  refused("\"size_bytes\": 10", "\"size_bytes\": \"10\"");
  refused("\"size_bytes\": 10", "\"size_bytes\": 9223372036854775807");
  refused("\"size_bytes\": 10", "\"size_bytes\": 18446744073709551616");
  refused("\"step\": 500", "\"step\": true");
  refused("\"attempt\": 2", "\"attempt\": 3000000000");
  refused("\"has_optimizer\": true", "\"has_optimizer\": 1");
  refused("\"tokens\": 123456789012", "\"tokens\": -1");
  refused("\"adapter\": true", "\"adapter\": \"yes\"");
  refused("\"kind\": \"checkpoint\"", "\"kind\": \"other\"");
  refused("\"create_time\": \"2026", "\"create_time\": \"x2026");
  refused("\"job\": \"jobs/4f00\",", "");
  refused("\"files\": {", "\"files\": [], \"more\": {");
}

TEST(ManifestTest, ReadsManifestWithoutTokens) {
  TempDir dir;
  const std::string json = ManifestToJson(WriteFolder(dir));
  const auto read = ParseManifest(absl::StrReplaceAll(json, {{"\"tokens\": 123456789012,", ""}}));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tokens, 0);
  const auto whole = ParseManifest(absl::StrReplaceAll(json, {{"\"adapter\": true,", ""}}));
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_FALSE(whole->adapter);
}

// Earlier builds kept the number in the run state alone.
TEST(ManifestTest, TakesMissingTokensFromTheRunState) {
  TempDir dir;
  Manifest manifest = WriteFolder(dir);
  const auto write = [&](const std::string& state) {
    EXPECT_TRUE(WriteFileAtomic(dir / "state.json", state).ok());
    manifest.files["state.json"] = {static_cast<int64_t>(state.size()), ToHex(Xxh3(state))};
    const std::string json =
        absl::StrReplaceAll(ManifestToJson(manifest), {{"\"tokens\": 123456789012,", ""}});
    EXPECT_TRUE(WriteFileAtomic(dir / kManifestName, json).ok());
    return ReadManifest(dir.path());
  };
  EXPECT_EQ(write(R"({"config": {"tokens": 7}, "tokens": 771, "step": 500})")->tokens, 771);
  EXPECT_EQ(write(R"({"config": {"tokens": 7}})")->tokens, 0);
  EXPECT_EQ(write("not JSON")->tokens, 0);
  EXPECT_EQ(write(R"({"tokens": -1})")->tokens, 0);
}

TEST(ManifestTest, ReportsNewerVersion) {
  Manifest manifest;
  manifest.version = 2;
  const absl::Status status = ParseManifest(ManifestToJson(manifest)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "version 2")) << status;
}

TEST(ManifestTest, RefusesDeepNesting) {
  EXPECT_FALSE(ParseManifest(std::string(1 << 20, '[')).ok());
}

}  // namespace
}  // namespace trainerd
