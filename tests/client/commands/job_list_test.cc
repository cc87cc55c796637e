// SPDX-License-Identifier: Apache-2.0
// What trainctl ls and get print about a night of jobs, and commands that take several jobs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class JobListTest : public ::testing::Test {
 protected:
  JobListTest() : daemon_(&store_, SocketOf(folder_.path())) {}
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }
  // The line of `ls -o wide` about a job.
  std::string WideLine(const std::string& id) {
    const std::string table = Run({"ls", "-o", "wide"}).out;
    for (const absl::string_view line : absl::StrSplit(table, '\n')) {
      if (line.substr(0, id.size()) == id) return std::string(line);
    }
    return "";
  }
  v1::Job& AddTrained(const std::string& id, v1::Job::State state) {
    v1::Job& job = store_.AddJob(id, "n-" + id, state);
    job.mutable_start_time()->set_seconds(1700000000);
    job.mutable_progress()->set_eta_seconds(3600);
    job.mutable_progress()->set_loss(1.25);
    return job;
  }

  TempDir folder_;
  FakeStore store_;
  FakeDaemon daemon_;
};

TEST_F(JobListTest, LsShowsValidationLossRateDurationEndAndReason) {
  v1::Job& job = AddTrained("aaaa", v1::Job::FAILED);
  job.mutable_end_time()->set_seconds(1700000000 + 3 * 3600 + 5 * 60);
  job.mutable_progress()->set_validation_loss(1.5125);
  job.mutable_progress()->set_learning_rate(3e-4);
  job.mutable_error()->set_code("DATA_INVALID");
  job.mutable_error()->set_message("a.jsonl:7: bad\nrecord");
  EXPECT_THAT(WideLine("aaaa"),
              AllOf(HasSubstr("1.5125"), HasSubstr("3.00e-04"), HasSubstr("3h05m"),
                    HasSubstr("2023-11-1"), HasSubstr("DATA_INVALID: a.jsonl:7: bad record")));
  EXPECT_THAT(Run({"ls"}).out, AllOf(HasSubstr("VAL-LOSS"), HasSubstr("1.5125")));
}

TEST_F(JobListTest, OnlyARunningJobHasAnEta) {
  for (const v1::Job::State state :
       {v1::Job::PAUSED, v1::Job::SUCCEEDED, v1::Job::FAILED, v1::Job::STOPPED, v1::Job::QUEUED}) {
    store_.jobs.clear();
    AddTrained("aaaa", state).mutable_end_time()->set_seconds(1700000060);
    EXPECT_THAT(WideLine("aaaa"), Not(HasSubstr("1h00m"))) << v1::Job::State_Name(state);
    EXPECT_THAT(Run({"get", "aaaa"}).out, Not(HasSubstr("ETA"))) << v1::Job::State_Name(state);
  }
  store_.jobs.clear();
  AddTrained("aaaa", v1::Job::RUNNING);
  EXPECT_THAT(WideLine("aaaa"), HasSubstr("1h00m"));
  EXPECT_THAT(Run({"get", "aaaa"}).out, HasSubstr("ETA             1h00m"));
}

TEST_F(JobListTest, PausedJobNamesTheCommandItWaitsFor) {
  AddTrained("aaaa", v1::Job::PAUSED).set_desired_state(v1::Job::DESIRED_PAUSE);
  EXPECT_THAT(WideLine("aaaa"), HasSubstr("waits for `trainctl resume aaaa`"));
  EXPECT_THAT(Run({"get", "aaaa"}).out, HasSubstr("waits for `trainctl resume aaaa`"));
}

TEST_F(JobListTest, QueuedJobNamesWhyItCannotStart) {
  v1::Job& job = store_.AddJob("aaaa", "n", v1::Job::QUEUED);
  job.set_wait_reason(v1::Job::EXECUTOR_UNREACHABLE);
  job.add_conditions()->set_message("ended");
  job.add_conditions()->set_message("trainerd-worker is missing");
  job.mutable_conditions(1)->set_active(true);
  EXPECT_THAT(WideLine("aaaa"), HasSubstr("waits: trainerd-worker is missing"));
}

TEST_F(JobListTest, GetPrintsTheFinalModelOfASucceededJob) {
  AddTrained("aaaa", v1::Job::SUCCEEDED);
  EXPECT_THAT(Run({"get", "aaaa"}).out, HasSubstr("final model     /state/runs/aaaa/final\n"));
}

TEST_F(JobListTest, LsAsJsonWithoutJobsIsAnEmptyList) {
  EXPECT_EQ(nlohmann::json::parse(Run({"ls", "-o", "json"}).out)["jobs"], nlohmann::json::array());
  EXPECT_EQ(Run({"ls", "-o", "jsonl"}).out, "");
}

TEST_F(JobListTest, WaitReturnsTheWorstEndOfSeveralJobs) {
  AddTrained("aaaa", v1::Job::SUCCEEDED);
  AddTrained("bbbb", v1::Job::STOPPED);
  EXPECT_EQ(Run({"wait", "aaaa", "bbbb"}).code, kJobStopped);
  AddTrained("cccc", v1::Job::FAILED).mutable_error()->set_code("WORKER_CRASHED");
  const RunResult result = Run({"wait", "aaaa", "bbbb", "cccc", "aaaa"});
  EXPECT_EQ(result.code, kJobFailed);
  EXPECT_THAT(result.err, HasSubstr("jobs/cccc failed: WORKER_CRASHED"));
  const auto list = nlohmann::json::parse(Run({"wait", "bbbb", "aaaa", "-o", "json"}).out)["jobs"];
  EXPECT_EQ(list.size(), 2u);
  AddTrained("dddd", v1::Job::RUNNING);
  EXPECT_EQ(Run({"wait", "aaaa", "bbbb", "dddd", "--timeout", "0.2s"}).code, kTimeout);
  EXPECT_EQ(Run({"wait", "cccc", "dddd", "--timeout", "0.2s"}).code, kJobFailed);
  EXPECT_EQ(Run({"wait", "aaaa", "nosuch"}).code, kRefused) << "at once, for a job that runs too";
}

TEST_F(JobListTest, WaitSeesAPassingStateOfEachJob) {
  AddTrained("aaaa", v1::Job::QUEUED);
  AddTrained("bbbb", v1::Job::QUEUED);
  std::thread runs([&] {
    while (true) {
      const std::lock_guard lock(store_.mutex);
      if (!store_.streams.empty()) break;
    }
    const std::lock_guard lock(store_.mutex);
    for (const char* name : {"jobs/bbbb", "jobs/aaaa"}) {
      store_.AddStateChange(name, v1::Job::QUEUED, v1::Job::RUNNING);
      store_.AddStateChange(name, v1::Job::RUNNING, v1::Job::PAUSED);
      store_.Find(name)->set_state(v1::Job::PAUSED);
    }
  });
  const RunResult result = Run({"wait", "aaaa", "bbbb", "--for", "RUNNING", "--timeout", "20s"});
  runs.join();
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(store_.streams.size(), 1u);
}

TEST_F(JobListTest, WaitForTheEndNamesAPausedJob) {
  AddTrained("aaaa", v1::Job::PAUSED).set_desired_state(v1::Job::DESIRED_PAUSE);
  EXPECT_THAT(Run({"wait", "aaaa", "--timeout", "0.2s"}).err,
              HasSubstr("jobs/aaaa is PAUSED and waits for `trainctl resume aaaa`\n"));
  EXPECT_EQ(Run({"wait", "aaaa", "--for", "PAUSED"}).err, "");
}

TEST_F(JobListTest, RmDeletesEachJobAndReportsTheOnesThatRun) {
  AddTrained("aaaa", v1::Job::SUCCEEDED);
  AddTrained("bbbb", v1::Job::RUNNING);
  AddTrained("cccc", v1::Job::FAILED);
  const RunResult result = Run({"rm", "aaaa", "bbbb", "cccc"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_EQ(result.out, "jobs/aaaa deleted\njobs/cccc deleted\n");
  EXPECT_THAT(result.err, HasSubstr("jobs/bbbb has not ended"));
  const RunResult unknown = Run({"rm", "aaaa", "nosuch"});
  EXPECT_EQ(unknown.out, "") << "nothing is deleted if a job is unknown";
  const auto list = nlohmann::json::parse(Run({"rm", "aaaa", "cccc", "-o", "json"}).out)["jobs"];
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0]["name"], "jobs/aaaa");
}

}  // namespace
}  // namespace trainerd::client
