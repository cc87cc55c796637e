// SPDX-License-Identifier: Apache-2.0
// The expected lines are those of the texts written here.
#include "proto/contract/job_file/job_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kGood[] =
    "model:\n"
    "  path: models/tiny\n"
    "data:\n"
    "  train: [a.jsonl, /abs/b.jsonl]\n"
    "train:\n"
    "  max_steps: 5\n";

class JobFileTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  JobFile Read(JobFileOptions options) const {
    options.working_dir = folder_.path();
    absl::StatusOr<JobFile> job = ReadJobFile(options);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *std::move(job) : JobFile();
  }
  static std::string Text(const JobFile& job) { return ViolationsText(job.violations, job.path); }
  TempDir folder_;
};

TEST_F(JobFileTest, ResolvesPathsAgainstTheFileAndNamesTheJobAfterIt) {
  std::filesystem::create_directory(folder_ / "sub");
  Write("sub/my-run.yaml", kGood);
  const JobFile job =
      Read({.path = "sub/my-run.yaml", .sets = {"output.path=out", "train.max_steps=7"}});
  EXPECT_THAT(job.violations, IsEmpty());
  EXPECT_EQ(job.config.name(), "my-run");
  EXPECT_EQ(job.config.model().path(), folder_.path() + "/sub/models/tiny");
  EXPECT_EQ(job.config.data().train(0).path(), folder_.path() + "/sub/a.jsonl");
  EXPECT_EQ(job.config.data().train(1).path(), "/abs/b.jsonl");
  EXPECT_EQ(job.config.output().path(), folder_.path() + "/sub/out");
  EXPECT_EQ(job.config.train().max_steps(), 7);
}

TEST_F(JobFileTest, ResolvesDefaultsAndTellsThemFromGivenValues) {
  Write("my-run.yaml", kGood);
  const auto job =
      ReadResolvedJob({.path = folder_ / "my-run.yaml", .default_now = "2026-01-02 03:04:05"});
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->config().name(), "my-run");
  EXPECT_EQ(job->config().data().now(), "2026-01-02 03:04:05");
  EXPECT_EQ(job->config().train().max_steps(), 5);
  EXPECT_TRUE(job->config().train().has_seed());
  EXPECT_THAT(job->given(), Not(::testing::Contains("name")));
  EXPECT_THAT(job->given(), ::testing::Contains("train.max_steps"));
}

TEST_F(JobFileTest, ReportsAllViolationsWithTheirLines) {
  Write("bad.yaml",
        "model: {path: m}\n"
        "data:\n"
        "  train: a.jsonl\n"
        "  max_length: many\n"
        "train:\n"
        "  batch_sze: 3\n"
        "  seed: -1\n");
  const JobFile job = Read({.path = "bad.yaml"});
  EXPECT_THAT(Text(job), HasSubstr("bad.yaml:4: data.max_length: "));
  EXPECT_THAT(Text(job), HasSubstr("bad.yaml:6: train.batch_sze: "));
  EXPECT_THAT(Text(job), HasSubstr("batch_size"));
  EXPECT_THAT(Text(job), HasSubstr("bad.yaml:7: train.seed: "));
  EXPECT_EQ(job.violations.size(), 3u) << Text(job);
  const auto resolved = ReadResolvedJob({.path = folder_ / "bad.yaml"});
  EXPECT_TRUE(absl::IsInvalidArgument(resolved.status()));
  EXPECT_THAT(std::string(resolved.status().message()), HasSubstr(":7: train.seed: "));
}

TEST_F(JobFileTest, ReportsOnlyTheSyntaxErrorOfAFileThatIsNotYaml) {
  for (const char* text : {"model: {path: [\ndata: {train: a.jsonl}\n", "a: 1\n---\nb: 2\n"}) {
    Write("bad.yaml", text);
    const JobFile job = Read({.path = "bad.yaml", .sets = {"train.max_stps=7"}});
    ASSERT_EQ(job.violations.size(), 1u) << text;
    EXPECT_EQ(job.violations[0].path, "");
    EXPECT_GT(job.violations[0].line, 0);
  }
  // What can be read is checked to the end.
  Write("bad.yaml", "train: {sed: 1}\n");
  EXPECT_GT(Read({.path = "bad.yaml"}).violations.size(), 1u);
}

TEST_F(JobFileTest, AdvisesWhatToCheckInAFileThatIsNotYaml) {
  Write("tabs.yaml", "model:\n\tpath: m\n");
  EXPECT_THAT(Text(Read({.path = "tabs.yaml"})), HasSubstr("indent with spaces, not with tabs"));
  Write("colon.yaml", "name: a: b\n");
  EXPECT_THAT(Text(Read({.path = "colon.yaml"})),
              HasSubstr("colon.yaml:1: cannot be read as YAML"));
  EXPECT_THAT(Text(Read({.path = "colon.yaml"})), HasSubstr("quote texts that contain"));
}

TEST_F(JobFileTest, DoesNotReportAFieldOfTheWrongTypeAsMissing) {
  Write("bad.yaml", "model: {path: [1, 2]}\ndata: {train: a.jsonl}\n");
  const JobFile job = Read({.path = "bad.yaml"});
  EXPECT_FALSE(job.violations.empty());
  EXPECT_THAT(Text(job), Not(HasSubstr("required")));
}

TEST_F(JobFileTest, NamesTheSetFlagOfAViolation) {
  Write("job.yaml", kGood);
  const JobFile job = Read({.path = "job.yaml", .sets = {"train.max_stps=7", "train.max_steps=0"}});
  EXPECT_THAT(Text(job), HasSubstr("--set train.max_stps=7: unknown key \"max_stps\" in train"));
  EXPECT_THAT(Text(job), HasSubstr("--set train.max_steps=0: "));
  EXPECT_THAT(Text(job), Not(HasSubstr("job.yaml"))) << "the value of line 6 was replaced";
}

TEST_F(JobFileTest, TellsSetValuesFromThoseOfTheFile) {
  Write("job.yaml",
        "model: {path: m}\ndata:\n  train:\n    - a.jsonl\n    - path: b.jsonl\n      weight: 0\n"
        "optimizer:\n  weight_decay: -1\n");
  JobFile job = Read({.path = "job.yaml", .sets = {"optimizer={learning_rate: 99}"}});
  EXPECT_THAT(Text(job), HasSubstr("job.yaml:6: data.train[1].weight: "));
  EXPECT_THAT(Text(job), HasSubstr("job.yaml:8: optimizer.weight_decay: "));
  EXPECT_THAT(Text(job),
              HasSubstr("--set optimizer={learning_rate: 99}: optimizer.learning_rate: "));
  // A replaced list has no line of the file.
  job = Read({.path = "job.yaml", .sets = {"data.train=[{path: c.jsonl, weight: -3}]"}});
  EXPECT_THAT(Text(job), HasSubstr("--set data.train=[{path: c.jsonl, weight: -3}]: "));
  EXPECT_THAT(Text(job), Not(HasSubstr("job.yaml:6")));
  // A violation that the daemon finds.
  std::vector<ConfigViolation> found = {{.path = "optimizer.learning_rate", .message = "no"}};
  job = Read({.path = "job.yaml", .sets = {"optimizer.learning_rate=1"}});
  AttachOrigins(job, &found);
  EXPECT_EQ(ViolationsText(found, job.path), "--set optimizer.learning_rate=1: no");
}

TEST_F(JobFileTest, ChecksOnlyTheGivenFieldsOfAnIncompleteJob) {
  const JobFile job = Read({.sets = {"train.epochs=3"}, .complete = false});
  EXPECT_THAT(job.violations, IsEmpty());
  EXPECT_FALSE(job.config.has_name());
  EXPECT_EQ(job.config.train().epochs(), 3);
}

TEST_F(JobFileTest, RefusesMissingFileAndMalformedSet) {
  const auto missing = ReadJobFile({.path = folder_ / "none.yaml"});
  EXPECT_TRUE(absl::IsInvalidArgument(missing.status()));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("none.yaml"));
  Write("train-chat.yaml", kGood);
  const auto message = [&](const std::string& path) {
    return std::string(ReadJobFile({.path = folder_ / path}).status().message());
  };
  EXPECT_THAT(message("other.yaml"), HasSubstr("the only YAML file of the folder is train-chat"));
  EXPECT_THAT(message("train-caht.yaml"), HasSubstr("did you mean \"train-chat.yaml\"?"));
  EXPECT_THAT(message("train-chat.yml"), HasSubstr("did you mean \"train-chat.yaml\"?"));
  EXPECT_THAT(message(""), HasSubstr("name the YAML file in this folder"));
  EXPECT_THAT(message("none/job.yaml"), HasSubstr("check the path"));
  EXPECT_THAT(std::string(ReadJobFile({.sets = {"novalue"}}).status().message()),
              HasSubstr("PATH=VALUE"));
}

}  // namespace
}  // namespace trainerd
