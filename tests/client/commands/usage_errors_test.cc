// SPDX-License-Identifier: Apache-2.0
// What trainctl prints and returns without a call: usage errors, help and the reference of the
// configuration.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kJobFile[] =
    "model:\n"
    "  path: tiny\n"
    "data:\n"
    "  train: a.jsonl\n"
    "output:\n"
    "  path: out\n";

class UsageErrorsTest : public ::testing::Test {
 protected:
  UsageErrorsTest() : daemon_(&store_, SocketOf(folder_.path())) {
    folder_.Write("job.yaml", kJobFile);
  }
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }

  TempDir folder_;
  FakeStore store_;
  FakeDaemon daemon_;
};

TEST_F(UsageErrorsTest, ExitsWithTwoForUsageErrorsAndZeroForHelp) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"frobnicate"},
                                                    {"ls", "--nosuch"},
                                                    {"get"},
                                                    {"-o", "xml", "ls"},
                                                    {"submit", "job.yaml", "--watch", "--wait"},
                                                    {"checkpoints"},
                                                    {"config"},
                                                    {"logs", "x", "--tail", "-1"}}) {
    const RunResult result = Run(arguments);
    EXPECT_EQ(result.code, kUsage);
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(result.err.empty());
  }
  const RunResult help = Run({"--help"});
  EXPECT_EQ(help.code, kDone);
  EXPECT_THAT(help.out, HasSubstr("Exit codes"));
  EXPECT_THAT(help.out, Not(HasSubstr("estimate"))) << "it does not exist yet";
}

TEST_F(UsageErrorsTest, SuggestsTheNearestCommand) {
  EXPECT_EQ(Run({"frobnicate"}).err,
            "trainctl: unknown command \"frobnicate\"\n`trainctl --help` lists the commands.\n");
  EXPECT_THAT(Run({"-o", "yaml", "vaildate", "job.yaml", "--set", "name=x"}).err,
              HasSubstr("unknown command \"vaildate\"; did you mean \"validate\"?"));
  EXPECT_THAT(Run({"checkpoints", "lst", "sft"}).err,
              HasSubstr("trainctl checkpoints: unknown command \"lst\"; did you mean \"ls\"?"));
  // No word to name: what is missing is said as before.
  EXPECT_THAT(Run({}).err, HasSubstr("subcommand is required"));
  EXPECT_THAT(Run({"--tail", "3"}).err, Not(HasSubstr("\"3\"")));
  EXPECT_THAT(Run({"get"}).err, HasSubstr("JOB is required"));
}

TEST_F(UsageErrorsTest, ConfigReferenceListsEveryKey) {
  const RunResult result = Run({"config", "reference"});
  EXPECT_EQ(result.code, kDone);
  for (const char* key : {"learning_rate", "max_length", "stop_grace"})
    EXPECT_THAT(result.out, HasSubstr(key));
}

}  // namespace
}  // namespace trainerd::client
