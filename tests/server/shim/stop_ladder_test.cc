// SPDX-License-Identifier: Apache-2.0
// The ladder's rules as in internal/worker.proto (Want, ShimRequest.Signal), with invented times.
#include "server/shim/stop_ladder.h"

#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

using Action = StopLadder::Action;
using internal::CHECKPOINT;
using internal::DISCARD;
using internal::KILL;
using internal::PAUSE;
using internal::STOP;

TEST(StopLadderTest, PassesOnOnlyWhatIsMoreSevere) {
  StopLadder ladder;
  ladder.Raise(PAUSE, 0, 0);
  EXPECT_EQ(ladder.Undelivered(), PAUSE);
  ladder.Delivered(PAUSE);
  ladder.Raise(PAUSE, 0, 0);
  EXPECT_FALSE(ladder.Undelivered().has_value());
  ladder.Raise(DISCARD, 0, 0);
  EXPECT_EQ(ladder.Undelivered(), DISCARD);
  ladder.Delivered(DISCARD);
  ladder.Raise(STOP, 0, 0);
  EXPECT_FALSE(ladder.Undelivered().has_value());
  EXPECT_EQ(ladder.want(), DISCARD);
}

TEST(StopLadderTest, WhatWasNotDeliveredIsNotSaidToBeAndStaysToBeTold) {
  StopLadder ladder;
  ladder.Raise(PAUSE, 1000, 0);
  ladder.Delivered(PAUSE);
  ladder.Raise(STOP, 500, 0);
  EXPECT_EQ(ladder.want(), PAUSE);
  EXPECT_EQ(ladder.Undelivered(), STOP);
  ladder.Raise(PAUSE, 1000, 0);  // a milder one does not take its place
  EXPECT_EQ(ladder.Undelivered(), STOP);
  EXPECT_EQ(ladder.NextDue(), 500) << "the deadline holds all the same";
  ladder.Delivered(STOP);
  EXPECT_EQ(ladder.want(), STOP);
  EXPECT_FALSE(ladder.Undelivered().has_value());
}

TEST(StopLadderTest, CheckpointIsBesideTheLadder) {
  StopLadder ladder;
  ladder.Raise(CHECKPOINT, 5, 0);
  EXPECT_FALSE(ladder.Undelivered().has_value());
  ladder.Delivered(CHECKPOINT);
  EXPECT_EQ(ladder.want(), internal::WANT_UNSPECIFIED);
  EXPECT_FALSE(ladder.NextDue().has_value());
}

TEST(StopLadderTest, GraceThenTermThenKillEachOnce) {
  StopLadder ladder;
  ladder.Raise(STOP, 1000, 100);
  EXPECT_EQ(ladder.NextDue(), 1100);
  EXPECT_EQ(ladder.TakeDue(1099), Action::kNone);
  EXPECT_FALSE(ladder.used_force());
  EXPECT_EQ(ladder.TakeDue(1100), Action::kTerminate);
  EXPECT_EQ(ladder.TakeDue(1101), Action::kNone);
  EXPECT_EQ(ladder.NextDue(), 1100 + StopLadder::kTermToKillMs);
  EXPECT_EQ(ladder.TakeDue(1100 + StopLadder::kTermToKillMs), Action::kKill);
  EXPECT_EQ(ladder.TakeDue(1'000'000), Action::kNone);
  EXPECT_FALSE(ladder.NextDue().has_value());
  EXPECT_TRUE(ladder.used_force());
}

TEST(StopLadderTest, ADeadlineIsOnlyBroughtForward) {
  StopLadder ladder;
  ladder.Raise(PAUSE, 1000, 0);
  ladder.Raise(PAUSE, 1000, 500);  // the daemon repeats itself
  EXPECT_EQ(ladder.NextDue(), 1000);
  ladder.Raise(STOP, 5000, 600);
  EXPECT_EQ(ladder.NextDue(), 1000);
  ladder.Raise(STOP, 100, 600);
  EXPECT_EQ(ladder.NextDue(), 700);
}

TEST(StopLadderTest, AMilderWantDoesNotShortenTheGraceOfTheOneInForce) {
  StopLadder ladder;
  ladder.Raise(STOP, 10000, 0);
  ladder.Raise(PAUSE, 1, 0);
  EXPECT_EQ(ladder.NextDue(), 10000);
}

TEST(StopLadderTest, KillIsDueAtOnceAndNotAskedOfTheWorker) {
  StopLadder ladder;
  ladder.Raise(KILL, 60000, 7);
  EXPECT_FALSE(ladder.Undelivered().has_value());
  EXPECT_EQ(ladder.want(), KILL);
  EXPECT_EQ(ladder.NextDue(), 7);
  EXPECT_EQ(ladder.TakeDue(7), Action::kKill);
  EXPECT_TRUE(ladder.used_force());
}

TEST(StopLadderTest, WithoutGraceNoForceIsUsed) {
  StopLadder ladder;
  ladder.Raise(STOP, 0, 0);
  EXPECT_FALSE(ladder.NextDue().has_value());
  EXPECT_EQ(ladder.TakeDue(1'000'000'000), Action::kNone);
}

}  // namespace
}  // namespace trainerd::server
