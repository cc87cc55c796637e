// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/checkpoint_request.h"

#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

JobRecord Record(int attempt, int64_t step) {
  JobRecord record;
  record.job.set_attempt(attempt);
  record.job.mutable_progress()->set_step(step);
  return record;
}

v1::Checkpoint Checkpoint(int attempt, int64_t step) {
  v1::Checkpoint checkpoint;
  checkpoint.set_attempt(attempt);
  checkpoint.set_step(step);
  return checkpoint;
}

v1::RequestCheckpointRequest Request(const std::string& key, const std::string& value, bool pin) {
  v1::RequestCheckpointRequest request;
  (*request.mutable_labels())[key] = value;
  request.set_pin(pin);
  return request;
}

TEST(CheckpointRequestTest, OneCheckpointFulfillsAllThatArePending) {
  JobRecord record = Record(1, 10);
  AddCheckpointRequest(Request("a", "1", false), &record);
  AddCheckpointRequest(Request("b", "2", true), &record);
  AddCheckpointRequest(Request("a", "3", false), &record);
  EXPECT_TRUE(record.job.checkpoint_pending());
  EXPECT_EQ(record.ledger.checkpoint_requests(), 1) << "delivered once";
  v1::Checkpoint checkpoint = Checkpoint(1, 11);
  EXPECT_TRUE(FulfillCheckpointRequest(&checkpoint, &record));
  EXPECT_EQ(checkpoint.labels().at("a"), "3");
  EXPECT_EQ(checkpoint.labels().at("b"), "2");
  EXPECT_TRUE(checkpoint.pinned());
  EXPECT_FALSE(record.job.checkpoint_pending());
  v1::Checkpoint next = Checkpoint(1, 12);
  EXPECT_FALSE(FulfillCheckpointRequest(&next, &record));
  EXPECT_TRUE(next.labels().empty());
  AddCheckpointRequest({}, &record);
  EXPECT_EQ(record.ledger.checkpoint_requests(), 2);
}

TEST(CheckpointRequestTest, AnOlderCheckpointDoesNotFulfillIt) {
  const struct {
    int attempt;
    int64_t step;
    bool fulfills;
  } cases[] = {{2, 49, false}, {2, 50, true}, {2, 51, true},
               {1, 90, false}, {3, 1, true},  {3, 60, true}};
  for (const auto& [attempt, step, fulfills] : cases) {
    JobRecord record = Record(2, 50);
    AddCheckpointRequest({}, &record);
    v1::Checkpoint checkpoint = Checkpoint(attempt, step);
    EXPECT_EQ(FulfillCheckpointRequest(&checkpoint, &record), fulfills) << attempt << " " << step;
    EXPECT_EQ(record.job.checkpoint_pending(), !fulfills);
  }
}

TEST(CheckpointRequestTest, ChangesTheEtagOfACheckpointThatHasOne) {
  JobRecord record = Record(1, 1);
  AddCheckpointRequest({}, &record);
  v1::Checkpoint checkpoint = Checkpoint(1, 1);
  ChangeEtag(&checkpoint);
  EXPECT_EQ(checkpoint.etag(), "1");
  EXPECT_TRUE(FulfillCheckpointRequest(&checkpoint, &record));
  EXPECT_EQ(checkpoint.etag(), "2");
}

}  // namespace
}  // namespace trainerd::server
