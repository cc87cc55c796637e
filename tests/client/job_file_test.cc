// SPDX-License-Identifier: Apache-2.0
// Expected lines are those of the texts written here.
#include "client/job_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/net/status_details.h"
#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kGood[] =
    "model:\n"
    "  path: models/tiny\n"
    "data:\n"
    "  train: [a.jsonl, /abs/b.jsonl]\n"
    "train:\n"
    "  max_steps: 5\n";

class JobFileTest : public ::testing::Test {
 protected:
  JobFile Load(const JobFileOptions& options) {
    Environment env;
    env.working_dir = folder_.path();
    absl::StatusOr<JobFile> job = LoadJobFile(options, env);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *std::move(job) : JobFile();
  }
  TempDir folder_;
};

TEST_F(JobFileTest, PathsAreMadeAbsoluteAgainstTheFileAndTheNameIsItsStem) {
  std::filesystem::create_directory(folder_.path() + "/sub");
  folder_.Write("sub/my-run.yaml", kGood);
  const JobFile job =
      Load({.path = "sub/my-run.yaml", .sets = {"output.path=out", "train.max_steps=7"}});
  EXPECT_THAT(job.violations, IsEmpty());
  EXPECT_EQ(job.config.name(), "my-run");
  EXPECT_EQ(job.config.model().path(), folder_.path() + "/sub/models/tiny");
  EXPECT_EQ(job.config.data().train(0).path(), folder_.path() + "/sub/a.jsonl");
  EXPECT_EQ(job.config.data().train(1).path(), "/abs/b.jsonl");
  EXPECT_EQ(job.config.output().path(), folder_.path() + "/sub/out");
  EXPECT_EQ(job.config.train().max_steps(), 7);
}

TEST_F(JobFileTest, ThreeFaultsOfThreeKindsAreThreeLines) {
  folder_.Write("bad.yaml",
                "model: {path: m}\n"
                "data:\n"
                "  train: a.jsonl\n"
                "  max_length: many\n"
                "train:\n"
                "  batch_sze: 3\n"
                "  seed: -1\n");
  const JobFile job = Load({.path = "bad.yaml"});
  std::ostringstream err;
  PrintViolations(job.violations, job.path, err);
  EXPECT_THAT(err.str(), HasSubstr("bad.yaml:4: data.max_length: "));
  EXPECT_THAT(err.str(), HasSubstr("bad.yaml:6: train.batch_sze: "));
  EXPECT_THAT(err.str(), HasSubstr("batch_size"));
  EXPECT_THAT(err.str(), HasSubstr("bad.yaml:7: train.seed: "));
  EXPECT_EQ(job.violations.size(), 3u) << err.str();
}

TEST_F(JobFileTest, WhatIsNoYamlHasNoOtherFaults) {
  for (const char* text : {"model: {path: [\ndata: {train: a.jsonl}\n", "a: 1\n---\nb: 2\n"}) {
    folder_.Write("bad.yaml", text);
    const JobFile job = Load({.path = "bad.yaml", .sets = {"train.max_stps=7"}});
    ASSERT_EQ(job.violations.size(), 1u) << text;
    EXPECT_EQ(job.violations[0].path, "");
    EXPECT_GT(job.violations[0].line, 0);
  }
  // What can be read is checked to the end.
  folder_.Write("bad.yaml", "train: {sed: 1}\n");
  EXPECT_GT(Load({.path = "bad.yaml"}).violations.size(), 1u);
}

TEST_F(JobFileTest, AFieldOfTheWrongTypeIsNotAlsoReportedAsMissing) {
  folder_.Write("bad.yaml", "model: {path: [1, 2]}\ndata: {train: a.jsonl}\n");
  const JobFile job = Load({.path = "bad.yaml"});
  for (const ConfigViolation& violation : job.violations)
    EXPECT_THAT(violation.message, ::testing::Not(HasSubstr("required")));
  EXPECT_FALSE(job.violations.empty());
}

TEST_F(JobFileTest, FaultsOfSetNameTheFlag) {
  folder_.Write("job.yaml", kGood);
  const JobFile job = Load({.path = "job.yaml", .sets = {"train.max_stps=7", "train.max_steps=0"}});
  std::ostringstream err;
  PrintViolations(job.violations, job.path, err);
  EXPECT_THAT(err.str(), HasSubstr("(in --set train.max_stps=7)"));
  EXPECT_THAT(err.str(), HasSubstr("train.max_steps: "));
  EXPECT_THAT(err.str(), ::testing::Not(HasSubstr("job.yaml:6:")))
      << "the value of line 6 was replaced";
}

TEST_F(JobFileTest, WithFromOnlyTheDifferencesAreThere) {
  const JobFile job = Load({.sets = {"train.epochs=3"}, .complete = false});
  EXPECT_THAT(job.violations, IsEmpty());
  EXPECT_FALSE(job.config.has_name());
  EXPECT_EQ(job.config.train().epochs(), 3);
}

TEST_F(JobFileTest, MissingFileAndBadSet) {
  Environment env;
  env.working_dir = folder_.path();
  EXPECT_THAT(std::string(LoadJobFile({.path = "none.yaml"}, env).status().message()),
              HasSubstr("none.yaml"));
  EXPECT_THAT(std::string(LoadJobFile({.sets = {"novalue"}}, env).status().message()),
              HasSubstr("PATH=VALUE"));
}

}  // namespace
}  // namespace trainerd::client
