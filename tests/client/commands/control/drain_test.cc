// SPDX-License-Identifier: Apache-2.0
// trainctl drain and undrain against the fake daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DrainCommandTest : public ::testing::Test {
 protected:
  DrainCommandTest() : daemon_(&store_, SocketOf(folder_.path())) {}
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }

  TempDir folder_;
  FakeStore store_;
  FakeDaemon daemon_;
};

TEST_F(DrainCommandTest, SendsWhatTheFlagsSay) {
  store_.active_attempts = {2, 2};  // of the connection, and of the answer
  const RunResult plain = Run({"drain"});
  EXPECT_EQ(plain.code, kDone) << plain.err;
  EXPECT_THAT(plain.out, HasSubstr("the daemon drains; 2 attempts still run"));
  EXPECT_EQ(Run({"drain", "--pause-running", "--deadline", "5m"}).code, kDone);
  ASSERT_EQ(store_.drains.size(), 2u);
  EXPECT_FALSE(store_.drains[0].pause_running());
  EXPECT_FALSE(store_.drains[0].has_deadline());
  EXPECT_FALSE(store_.drains[0].request_id().empty());
  EXPECT_TRUE(store_.drains[1].pause_running());
  EXPECT_EQ(store_.drains[1].deadline().seconds(), 300);
  EXPECT_THAT(Run({"version"}).out, HasSubstr("draining"));
  EXPECT_THAT(Run({"ls"}).err, HasSubstr("trainctl undrain"));
  EXPECT_THAT(Run({"ls", "-o", "json"}).err, Not(HasSubstr("undrain"))) << "for people only";
  const RunResult ended = Run({"undrain", "-o", "json"});
  EXPECT_EQ(ended.code, kDone) << ended.err;
  EXPECT_THAT(ended.out, Not(HasSubstr("draining")));
  EXPECT_THAT(Run({"ls"}).err, Not(HasSubstr("drain")));
}

TEST_F(DrainCommandTest, WaitsUntilNoAttemptRuns) {
  store_.active_attempts = {3, 3, 1};
  const RunResult waited = Run({"drain", "--wait"});
  EXPECT_EQ(waited.code, kDone) << waited.err;
  EXPECT_THAT(waited.out, HasSubstr("the daemon drains; no attempt runs"));
  EXPECT_TRUE(store_.active_attempts.empty()) << "it asked until none ran";
}

TEST_F(DrainCommandTest, ADrainThatEndsBeforeItIsCompleteIsAnError) {
  store_.active_attempts = {3, 3, 1, 1};
  store_.on_info = [](FakeStore& store) {
    if (store.active_attempts.size() == 2) store.draining = false;  // as a restart does
  };
  const RunResult waited = Run({"drain", "--wait"});
  EXPECT_EQ(waited.code, kRefused);
  EXPECT_THAT(waited.err, HasSubstr("does not drain"));
}

TEST_F(DrainCommandTest, RefusesNonsense) {
  EXPECT_EQ(Run({"drain", "--deadline", "5m"}).code, kUsage) << "needs --pause-running";
  EXPECT_EQ(Run({"drain", "--pause-running", "--deadline", "soon"}).code, kUsage);
  EXPECT_EQ(Run({"drain", "now"}).code, kUsage);
  EXPECT_TRUE(store_.drains.empty());
}

}  // namespace
}  // namespace trainerd::client
