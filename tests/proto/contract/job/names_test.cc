// SPDX-License-Identifier: Apache-2.0
// The forms are those of the head of trainer.proto.
#include "proto/contract/job/names.h"

#include "gtest/gtest.h"

namespace trainerd {
namespace {

const std::string kLongestId(40, 'a');

TEST(NamesTest, ReadsBothFormsOfJobName) {
  for (const std::string& id : {std::string("a"), std::string("0"), std::string("4f1c09aa77b2"),
                                std::string("a-b-"), std::string("latest"), kLongestId}) {
    EXPECT_EQ(ParseJobName(id).value_or(""), id);
    EXPECT_EQ(ParseJobName("jobs/" + id).value_or(""), id);
  }
}

TEST(NamesTest, RefusesEveryOtherFormOfJobName) {
  const std::string zero("a\0b", 3);
  for (const std::string& name : {std::string(),
                                  std::string("jobs/"),
                                  std::string("/"),
                                  std::string("-"),
                                  std::string("jobs/-"),
                                  std::string("-a"),
                                  std::string("jobs/jobs/a"),
                                  std::string("jobs//a"),
                                  std::string("/jobs/a"),
                                  std::string("jobs/a/"),
                                  std::string("jobs/a/checkpoints"),
                                  std::string("jobs/a/checkpoints/"),
                                  std::string("jobs/a/checkpoints/step-00000500-a2"),
                                  std::string("a/checkpoints/x"),
                                  std::string("jobs/a/final"),
                                  std::string("jobs/a/b"),
                                  std::string("a/b"),
                                  std::string("JOBS/a"),
                                  std::string("jobs/A"),
                                  std::string("A"),
                                  std::string("a b"),
                                  std::string(" a"),
                                  std::string("a "),
                                  std::string("a\n"),
                                  std::string("jobs/a\n"),
                                  std::string("a."),
                                  std::string(".."),
                                  std::string("jobs/.."),
                                  std::string("a_b"),
                                  std::string("é"),
                                  std::string("*"),
                                  std::string("files/a"),
                                  zero,
                                  kLongestId + "a",
                                  std::string(5000, 'a'),
                                  "jobs/" + kLongestId + "a"}) {
    EXPECT_FALSE(ParseJobName(name).has_value()) << name;
  }
}

TEST(NamesTest, ReadsNameOfCheckpointAsItsParts) {
  const auto parts = ParseJobOrCheckpointName("jobs/a-1/checkpoints/step-00000500-a2");
  ASSERT_TRUE(parts.has_value());
  EXPECT_EQ(parts->job_id, "a-1");
  EXPECT_EQ(parts->checkpoint_id, "step-00000500-a2");
  for (const char* job : {"jobs/a-1", "a-1"}) {
    const auto alone = ParseJobOrCheckpointName(job);
    ASSERT_TRUE(alone.has_value()) << job;
    EXPECT_EQ(alone->job_id, "a-1");
    EXPECT_EQ(alone->checkpoint_id, "");
  }
}

TEST(NamesTest, RefusesEveryOtherFormOfCheckpointName) {
  for (const std::string& name :
       {std::string("a/checkpoints/x"), std::string("jobs/a/checkpoints/"),
        std::string("jobs/a/checkpoints/x/y"), std::string("jobs/a/checkpoints/x/checkpoints/y"),
        std::string("jobs//checkpoints/x"), std::string("jobs/-/checkpoints/x"),
        std::string("jobs/A/checkpoints/x"), std::string("jobs/a/checkpoints/.."),
        std::string("jobs/a/checkpoints/."), std::string("jobs/a/checkpoints/.hidden"),
        std::string("jobs/a/checkpoints/x y"), std::string("jobs/a/checkpoints/x\n"),
        std::string("jobs/a/Checkpoints/x"), std::string("jobs/a/checkpoint/x"),
        "jobs/a/checkpoints/" + std::string(256, 'x'), std::string("/checkpoints/x")}) {
    EXPECT_FALSE(ParseJobOrCheckpointName(name).has_value()) << name;
  }
}

TEST(NamesTest, ReadsTheThreeFormsOfAModel) {
  for (const std::string& name : {std::string("jobs/a/final"), std::string("jobs/a/start"),
                                  std::string("jobs/a/checkpoints/step-00000500-a2"),
                                  std::string("jobs/a/checkpoints/final")}) {
    EXPECT_EQ(ParseModelName(name).value_or(""), name);
  }
  EXPECT_TRUE(IsFinalName("jobs/a/final"));
  EXPECT_FALSE(IsFinalName("jobs/a/checkpoints/final")) << "a folder of that name";
  EXPECT_TRUE(IsStartName("jobs/a/start"));
  EXPECT_FALSE(IsStartName("jobs/a/checkpoints/start"));
  for (const std::string& name :
       {std::string(), std::string("jobs/a"), std::string("a"), std::string("a/final"),
        std::string("jobs/A/final"), std::string("jobs//final"), std::string("jobs/-/start"),
        std::string("jobs/a/Final"), std::string("jobs/a/b/final"), std::string("/final"),
        std::string("jobs/a/checkpoints/"), std::string("jobs/a/checkpoints/x/final"),
        std::string("jobs/a/final/"), std::string("jobs/a/final\n")}) {
    EXPECT_FALSE(ParseModelName(name).has_value()) << name;
  }
}

TEST(NamesTest, ReadsNameOfEvaluation) {
  for (const std::string& name :
       {std::string("jobs/a/evaluations/q-step-00000500-a2"),
        std::string("jobs/a/evaluations/a.b_c-final.2"),
        "jobs/a/evaluations/" + std::string(63, 's') + "-" + std::string(255, 'x') + ".12"}) {
    EXPECT_EQ(ParseEvaluationName(name).value_or(""), name);
    EXPECT_EQ(EvaluationName(JobName(JobId(name)), EvaluationId(name)), name);
  }
  for (const std::string& name :
       {std::string(), std::string("jobs/a"), std::string("jobs/a/evaluations/"),
        std::string("a/evaluations/x"), std::string("jobs/A/evaluations/x"),
        std::string("jobs/a/evaluations/x/y"), std::string("jobs/a/evaluations/../x"),
        std::string("jobs/a/evaluations/.x"), std::string("jobs/a/evaluations/x y"),
        "jobs/a/evaluations/" + std::string(400, 'x')}) {
    EXPECT_FALSE(ParseEvaluationName(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace trainerd
