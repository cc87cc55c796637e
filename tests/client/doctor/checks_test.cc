// SPDX-License-Identifier: Apache-2.0
// Facts about a machine → findings. Every finding that is not OK says what to do.
#include "client/doctor/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/contract/job/revision.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using Level = Finding::Level;

constexpr int64_t kGiB = int64_t{1} << 30;
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

// The worst level; checks that there is an action exactly where one is needed.
Level Worst(const std::vector<Finding>& findings) {
  Level worst = Level::kOk;
  EXPECT_FALSE(findings.empty());
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.action.empty(), finding.level == Level::kOk) << finding.message;
    EXPECT_FALSE(finding.check.empty());
    worst = std::max(worst, finding.level);
  }
  return worst;
}
std::string Text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings)
    text += finding.check + ": " + finding.message + " -> " + finding.action + "\n";
  return text;
}

StateDirFacts Healthy() {
  const PathFacts file{.exists = true, .mode = 0600, .owner = 1000};
  return {.path = "/s",
          .folder = {.exists = true, .mode = 0700, .owner = 1000},
          .socket = {.exists = true, .is_socket = true, .mode = 0600, .owner = 1000},
          .token = file,
          .database = file,
          .lock_holder = 42,
          .holder_runs = true,
          .daemon_answers = true,
          .user = 1000};
}

TEST(ChecksTest, AHealthyStateDirectoryIsOk) {
  EXPECT_EQ(Worst(CheckStateDir(Healthy())), Level::kOk);
  EXPECT_EQ(Worst(CheckStateDir({.path = "/s"})), Level::kNote) << "before the first start";
}

TEST(ChecksTest, WhatOthersCanReachIsAProblem) {
  for (const uint32_t bits : {0001u, 0004u, 0010u, 0040u, 0020u, 0077u}) {
    StateDirFacts facts = Healthy();
    facts.folder.mode |= bits;
    EXPECT_THAT(Text(CheckStateDir(facts)), HasSubstr("chmod 0700 /s"));
    facts = Healthy();
    facts.token.mode |= bits;
    EXPECT_THAT(Text(CheckStateDir(facts)), HasSubstr("chmod 0600 /s/token"));
    facts = Healthy();
    facts.socket.mode |= bits;
    EXPECT_THAT(Text(CheckStateDir(facts)), HasSubstr("chmod 0600 /s/trainerd.sock"));
    facts = Healthy();
    facts.database.mode |= bits;
    EXPECT_EQ(Worst(CheckStateDir(facts)), Level::kProblem);
  }
  StateDirFacts facts = Healthy();
  facts.socket.mode = 0666;
  EXPECT_EQ(Worst(CheckStateDir(facts)), Level::kNote) << "roles may share it";
  facts = Healthy();
  facts.user = 0;
  EXPECT_THAT(Text(CheckStateDir(facts)), HasSubstr("belongs to uid 1000"));
}

TEST(ChecksTest, LocksAndSocketsWithoutADaemon) {
  StateDirFacts facts = Healthy();
  facts.daemon_answers = false;
  EXPECT_EQ(Worst(CheckStateDir(facts)), Level::kProblem) << "it holds the lock and is silent";
  EXPECT_THAT(Text(CheckStateDir(facts)), HasSubstr("pid 42"));
  facts.holder_runs = false;
  EXPECT_EQ(Worst(CheckStateDir(facts)), Level::kNote) << "it was killed";
  facts.socket.is_socket = false;
  EXPECT_EQ(Worst(CheckStateDir(facts)), Level::kProblem);
}

v1::ServerInfo Info() {
  v1::ServerInfo info;
  info.set_version("1.2");
  info.set_api_revision(kApiRevision);
  return info;
}

TEST(ChecksTest, VersionsDrainAndConditionsOfTheDaemon) {
  EXPECT_EQ(Worst(CheckDaemon(Info(), "1.2", std::nullopt)), Level::kOk);
  EXPECT_EQ(Worst(CheckDaemon(Info(), "1.3", std::nullopt)), Level::kNote);
  v1::ServerInfo info = Info();
  info.set_api_revision(kApiRevision - 1);
  EXPECT_EQ(Worst(CheckDaemon(info, "1.2", std::nullopt)), Level::kProblem);
  const ProcessFacts replaced{.pid = 42, .program = "/usr/bin/trainerd", .program_replaced = true};
  EXPECT_THAT(Text(CheckDaemon(Info(), "1.2", replaced)), HasSubstr("restart the daemon"));
  info = Info();
  info.set_draining(true);
  info.set_active_attempts(2);
  EXPECT_THAT(Text(CheckDaemon(info, "1.2", std::nullopt)), HasSubstr("2 attempts"));
  v1::Job::Condition& condition = *info.add_conditions();
  condition.set_type("DiskLow");
  EXPECT_EQ(Worst(CheckDaemon(info, "1.2", std::nullopt)), Level::kNote) << "it is over";
  condition.set_active(true);
  EXPECT_EQ(Worst(CheckDaemon(info, "1.2", std::nullopt)), Level::kProblem);
}

TEST(ChecksTest, DisksByBytesAndFiles) {
  const auto level = [](int64_t free, int64_t total, int64_t files) {
    return Worst({CheckDisk({.path = "/s",
                             .holds = "the state directory",
                             .free_bytes = free,
                             .total_bytes = total,
                             .free_files = files})});
  };
  EXPECT_EQ(level(50 * kGiB, 100 * kGiB, -1), Level::kOk);
  EXPECT_EQ(level(50 * kGiB, 100 * kGiB, 1'000'000), Level::kOk);
  EXPECT_EQ(level(9 * kGiB, 100 * kGiB, -1), Level::kNote);
  EXPECT_EQ(level(kGiB - 1, 2 * kGiB, -1), Level::kProblem);
  EXPECT_EQ(level(0, 100 * kGiB, -1), Level::kProblem);
  EXPECT_EQ(level(50 * kGiB, 100 * kGiB, 9), Level::kProblem);
  EXPECT_THAT(Text({CheckDisk({.path = "/s", .error = "Stale file handle"})}),
              HasSubstr("Stale file handle"));
}

TEST(ChecksTest, DevicesSayWhyTheyCannotBeUsed) {
  v1::Device cpu, gpu;
  cpu.set_name("cpu");
  gpu.set_name("cuda:0");
  EXPECT_EQ(Worst(CheckDevices({cpu, gpu})), Level::kOk);
  gpu.set_job("jobs/a");
  EXPECT_THAT(Text(CheckDevices({cpu, gpu})), HasSubstr("in use by jobs/a"));
  gpu.set_unavailable("the driver is too old");
  EXPECT_EQ(Worst(CheckDevices({cpu, gpu})), Level::kProblem);
  EXPECT_THAT(Text(CheckDevices({cpu, gpu})), HasSubstr("the driver is too old"));
  EXPECT_EQ(Worst(CheckDevices({})), Level::kProblem);
}

TEST(ChecksTest, ClocksThatWereSetOrAreNot) {
  ProcessFacts daemon{.pid = 42};
  for (const auto& [seconds, level] : std::vector<std::pair<int, Level>>{{0, Level::kOk},
                                                                         {9, Level::kOk},
                                                                         {-9, Level::kOk},
                                                                         {60, Level::kNote},
                                                                         {-86'400, Level::kNote}}) {
    daemon.start_time = kNow + absl::Seconds(seconds);
    EXPECT_EQ(Worst(CheckClock({.now = kNow}, daemon, kNow)), level) << seconds;
  }
  EXPECT_THAT(Text(CheckClock({.now = kNow}, daemon, kNow)), HasSubstr("set back by about 1d"));
  daemon.start_time = absl::InfinitePast();
  EXPECT_EQ(Worst(CheckClock({.now = kNow}, daemon, kNow)), Level::kOk) << "it is not known";
  EXPECT_EQ(Worst(CheckClock({.now = kNow}, std::nullopt, kNow)), Level::kOk);
  EXPECT_EQ(Worst(CheckClock({.now = kNow, .unsynchronized = true}, std::nullopt, kNow)),
            Level::kNote);
  EXPECT_EQ(Worst(CheckClock({.now = absl::UnixEpoch()}, std::nullopt, kNow)), Level::kProblem);
}

TEST(ChecksTest, LimitsThatAreTooLow) {
  const InotifyFacts inotify{.max_instances = 128, .max_watches = 65'536};
  EXPECT_EQ(Worst(CheckLimits(inotify, ProcessFacts{.max_open_files = 4096})), Level::kOk);
  EXPECT_EQ(Worst(CheckLimits({}, ProcessFacts{})), Level::kOk) << "what cannot be read";
  EXPECT_THAT(Text(CheckLimits(inotify, ProcessFacts{.max_open_files = 256})), HasSubstr("256"));
  EXPECT_THAT(Text(CheckLimits({.max_instances = 2, .max_watches = 65'536}, std::nullopt)),
              HasSubstr("max_user_instances"));
  EXPECT_THAT(Text(CheckLimits({.max_instances = 128, .max_watches = 8}, std::nullopt)),
              HasSubstr("max_user_watches"));
}

}  // namespace
}  // namespace trainerd::client
