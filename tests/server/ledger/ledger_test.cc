// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/ledger.h"

#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

CheckpointRow Row(int64_t number, int64_t step, const std::string& parent = "") {
  CheckpointRow row{.number = number};
  row.checkpoint.set_name("jobs/a/checkpoints/" + std::to_string(step));
  row.checkpoint.set_job("jobs/a");
  row.checkpoint.set_step(step);
  row.checkpoint.set_verified(true);
  row.checkpoint.set_parent(parent);
  return row;
}

std::string Steps(const std::vector<v1::Checkpoint>& checkpoints) {
  std::string text;
  for (const v1::Checkpoint& c : checkpoints) text += std::to_string(c.step()) + " ";
  return text;
}

TEST(ResumePointTest, IsTheNewestVerifiedOnTheLineage) {
  std::vector<CheckpointRow> rows = {Row(4, 40), Row(3, 30), Row(2, 20), Row(1, 10)};
  rows[0].checkpoint.set_verified(false);
  rows[1].checkpoint.set_superseded(true);
  EXPECT_EQ(ResumePoint(rows)->step(), 20);
  rows[2].checkpoint.set_deleted(true);
  EXPECT_EQ(ResumePoint(rows)->step(), 10);
  EXPECT_FALSE(ResumePoint({}).has_value());
}

TEST(ResumePointTest, ChoosesByStepNotByOrderOfRows) {
  EXPECT_EQ(ResumePoint({Row(1, 10), Row(2, 30), Row(3, 20)})->step(), 30);
}

TEST(ChooseRemovalsTest, KeepsNewestResumePointAndThoseInUse) {
  const std::vector<CheckpointRow> rows = {Row(5, 50), Row(4, 40), Row(3, 30), Row(2, 20),
                                           Row(1, 10)};
  EXPECT_EQ(Steps(ChooseRemovals(rows, 2, {})), "30 20 10 ");
  EXPECT_EQ(Steps(ChooseRemovals(rows, 2, {"jobs/a/checkpoints/20"})), "30 10 ");
}

TEST(ChooseRemovalsTest, NeverRemovesTheOnlyVerifiedCheckpoint) {
  std::vector<CheckpointRow> rows = {Row(3, 30), Row(2, 20), Row(1, 10)};
  rows[0].checkpoint.set_superseded(true);
  rows[1].checkpoint.set_superseded(true);
  EXPECT_EQ(Steps(ChooseRemovals(rows, 1, {})), "20 ") << "10 is the resume point";
}

TEST(ChooseRemovalsTest, KeepsAnUnverifiedCheckpointUntilANewerVerifiedOneExists) {
  std::vector<CheckpointRow> rows = {Row(2, 20), Row(1, 10)};
  rows[0].checkpoint.set_verified(false);
  EXPECT_EQ(Steps(ChooseRemovals(rows, 1, {})), "");
  rows.insert(rows.begin(), Row(3, 30));
  EXPECT_EQ(Steps(ChooseRemovals(rows, 1, {})), "20 10 ");
}

TEST(IsOnLineageTest, FollowsParents) {
  std::vector<CheckpointRow> rows = {Row(2, 20, "jobs/a/checkpoints/10"), Row(1, 10)};
  EXPECT_TRUE(IsOnLineage(rows, "jobs/a/checkpoints/20"));
  rows[0].checkpoint.set_superseded(true);
  EXPECT_FALSE(IsOnLineage(rows, "jobs/a/checkpoints/20"));
  EXPECT_FALSE(IsOnLineage(rows, "")) << "another beginning";
  EXPECT_TRUE(IsOnLineage({}, ""));
  EXPECT_TRUE(IsOnLineage({}, "jobs/base/checkpoints/5")) << "began from another job's checkpoint";
}

}  // namespace
}  // namespace trainerd::server
