// SPDX-License-Identifier: Apache-2.0
// The rules of internal/worker.proto (RequestedAction, ShimRequest.Signal), with invented times.
#include "server/shim/stop_escalation.h"

#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

using Action = StopEscalation::Action;
using internal::CHECKPOINT;
using internal::DISCARD;
using internal::KILL;
using internal::PAUSE;
using internal::STOP;

TEST(StopEscalationTest, DeliversOnlyMoreSevereActions) {
  StopEscalation escalation;
  escalation.Raise(PAUSE, 0, 0);
  EXPECT_EQ(escalation.Undelivered(), PAUSE);
  escalation.Delivered(PAUSE);
  escalation.Raise(PAUSE, 0, 0);
  EXPECT_FALSE(escalation.Undelivered().has_value());
  escalation.Raise(DISCARD, 0, 0);
  EXPECT_EQ(escalation.Undelivered(), DISCARD);
  escalation.Delivered(DISCARD);
  escalation.Raise(STOP, 0, 0);
  EXPECT_FALSE(escalation.Undelivered().has_value());
  EXPECT_EQ(escalation.action(), DISCARD);
}

TEST(StopEscalationTest, KeepsAnUndeliveredActionPending) {
  StopEscalation escalation;
  escalation.Raise(PAUSE, 1000, 0);
  escalation.Delivered(PAUSE);
  escalation.Raise(STOP, 500, 0);
  EXPECT_EQ(escalation.action(), PAUSE);
  EXPECT_EQ(escalation.Undelivered(), STOP);
  escalation.Raise(PAUSE, 1000, 0);  // a milder action does not replace it
  EXPECT_EQ(escalation.Undelivered(), STOP);
  EXPECT_EQ(escalation.NextDue(), 500) << "the deadline holds in either case";
  escalation.Delivered(STOP);
  EXPECT_EQ(escalation.action(), STOP);
  EXPECT_FALSE(escalation.Undelivered().has_value());
}

TEST(StopEscalationTest, IgnoresCheckpoint) {
  StopEscalation escalation;
  escalation.Raise(CHECKPOINT, 5, 0);
  EXPECT_FALSE(escalation.Undelivered().has_value());
  escalation.Delivered(CHECKPOINT);
  EXPECT_EQ(escalation.action(), internal::REQUESTED_ACTION_UNSPECIFIED);
  EXPECT_FALSE(escalation.NextDue().has_value());
}

TEST(StopEscalationTest, TerminatesAtTheDeadlineThenKillsOnceEach) {
  StopEscalation escalation;
  escalation.Raise(STOP, 1000, 100);
  EXPECT_EQ(escalation.NextDue(), 1100);
  EXPECT_EQ(escalation.TakeDue(1099), Action::kNone);
  EXPECT_FALSE(escalation.used_force());
  EXPECT_EQ(escalation.TakeDue(1100), Action::kTerminate);
  EXPECT_EQ(escalation.TakeDue(1101), Action::kNone);
  EXPECT_EQ(escalation.NextDue(), 1100 + StopEscalation::kTermToKillMs);
  EXPECT_EQ(escalation.TakeDue(1100 + StopEscalation::kTermToKillMs), Action::kKill);
  EXPECT_EQ(escalation.TakeDue(1'000'000), Action::kNone);
  EXPECT_FALSE(escalation.NextDue().has_value());
  EXPECT_TRUE(escalation.used_force());
}

TEST(StopEscalationTest, MovesADeadlineOnlyEarlier) {
  StopEscalation escalation;
  escalation.Raise(PAUSE, 1000, 0);
  escalation.Raise(PAUSE, 1000, 500);  // the daemon repeats itself
  EXPECT_EQ(escalation.NextDue(), 1000);
  escalation.Raise(STOP, 5000, 600);
  EXPECT_EQ(escalation.NextDue(), 1000);
  escalation.Raise(STOP, 100, 600);
  EXPECT_EQ(escalation.NextDue(), 700);
}

TEST(StopEscalationTest, IgnoresTheGraceOfAMilderAction) {
  StopEscalation escalation;
  escalation.Raise(STOP, 10000, 0);
  escalation.Raise(PAUSE, 1, 0);
  EXPECT_EQ(escalation.NextDue(), 10000);
}

TEST(StopEscalationTest, KillsAtOnceWithoutDelivery) {
  StopEscalation escalation;
  escalation.Raise(KILL, 60000, 7);
  EXPECT_FALSE(escalation.Undelivered().has_value());
  EXPECT_EQ(escalation.action(), KILL);
  EXPECT_EQ(escalation.NextDue(), 7);
  EXPECT_EQ(escalation.TakeDue(7), Action::kKill);
  EXPECT_TRUE(escalation.used_force());
}

TEST(StopEscalationTest, UsesNoForceWithoutAGrace) {
  StopEscalation escalation;
  escalation.Raise(STOP, 0, 0);
  EXPECT_FALSE(escalation.NextDue().has_value());
  EXPECT_EQ(escalation.TakeDue(1'000'000'000), Action::kNone);
}

}  // namespace
}  // namespace trainerd::server
