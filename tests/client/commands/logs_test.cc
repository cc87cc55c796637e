// SPDX-License-Identifier: Apache-2.0
// trainctl logs -f over the attempts of a job. Bytes and lost connections: commands_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kJob[] = "jobs/4f0123456789";

class LogsTest : public ::testing::Test {
 protected:
  LogsTest() : daemon_(&store_, SocketOf(folder_.path())) {
    store_.on_logs = [this](const v1::StreamLogsRequest& request, v1::LogChunk* chunk) {
      const std::lock_guard lock(store_.mutex);
      const int attempt = request.attempt() > 0 ? request.attempt() : store_.jobs[0].attempt();
      if (attempt == 0)
        return Refuse(grpc::FAILED_PRECONDITION, "not started yet: no log", "NOT_STARTED");
      const std::string text = "of attempt " + std::to_string(attempt) + "\n";
      chunk->set_data(text);
      chunk->set_next_offset(static_cast<int64_t>(text.size()));
      if (attempt == last_attempt_) store_.jobs[0].set_state(v1::Job::SUCCEEDED);
      return grpc::Status::OK;
    };
  }

  void AddJob(v1::Job::State state, int attempt) {
    store_.AddJob("4f0123456789", "sft", state).set_attempt(attempt);
  }

  // Runs trainctl; when it waits for a later attempt, the job starts all of `attempts` at once.
  RunResult RunWhileStarting(const std::vector<std::string>& arguments,
                             const std::vector<int>& attempts) {
    last_attempt_ = attempts.back();
    std::atomic<bool> left = false;
    std::thread starts([&] {
      std::unique_lock lock(store_.mutex);
      while (store_.streams.size() <= waits_before_) {
        if (left) return;
        lock.unlock();
        std::this_thread::yield();
        lock.lock();
      }
      for (const int attempt : attempts) {
        store_.AddStateChange(kJob, v1::Job::QUEUED, v1::Job::STARTING);
        store_.events.back().set_attempt(attempt);
        store_.jobs[0].set_attempt(attempt);
      }
    });
    const RunResult result = Trainctl(folder_.path(), arguments);
    left = true;
    starts.join();
    return result;
  }

  TempDir folder_;
  FakeStore store_;
  int last_attempt_ = 0;     // with its log the job ends
  size_t waits_before_ = 0;  // so many StreamStatus calls come before the attempts start
  FakeDaemon daemon_;
};

TEST_F(LogsTest, FollowsLaterAttemptsUntilTheJobHasEnded) {
  AddJob(v1::Job::QUEUED, 1);
  const RunResult result = RunWhileStarting({"logs", "sft", "-f", "--tail", "5"}, {2});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out, "of attempt 1\nof attempt 2\n");
  EXPECT_EQ(result.err,
            "trainctl: attempt 1 has ended, the job is QUEUED; waiting for attempt 2\n");
  ASSERT_EQ(store_.log_reads.size(), 2u);
  EXPECT_EQ(store_.log_reads[0].tail_lines(), 5);
  EXPECT_EQ(store_.log_reads[1].tail_lines(), 0) << "all of an attempt that began meanwhile";
  EXPECT_EQ(store_.log_reads[1].after_offset(), 0);
}

TEST_F(LogsTest, FollowSkipsNoAttempt) {
  AddJob(v1::Job::QUEUED, 1);
  EXPECT_EQ(RunWhileStarting({"logs", "sft", "-f"}, {2, 3}).out,
            "of attempt 1\nof attempt 2\nof attempt 3\n");
}

TEST_F(LogsTest, FollowWaitsForARestartedDaemon) {
  AddJob(v1::Job::QUEUED, 1);
  store_.break_stream_after = {{0, 0}};
  waits_before_ = 1;
  const RunResult result = RunWhileStarting({"logs", "sft", "-f"}, {2});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out, "of attempt 1\nof attempt 2\n");
  EXPECT_THAT(result.err, HasSubstr("retrying"));
  EXPECT_THAT(result.err, HasSubstr("reconnected"));
}

// The stream of the next attempt, or the watch for it, is refused for a moment.
TEST_F(LogsTest, FollowRetriesWhenTooManyWatchBetweenAttempts) {
  AddJob(v1::Job::QUEUED, 1);
  const auto answer = store_.on_logs;
  int refusals = 0;
  store_.on_logs = [&](const v1::StreamLogsRequest& request, v1::LogChunk* chunk) {
    if (request.attempt() == 2 && ++refusals <= 2)
      return Refuse(grpc::RESOURCE_EXHAUSTED, "60 streams are open", "WATCHERS");
    return answer(request, chunk);
  };
  store_.refused_streams = 1;
  waits_before_ = 1;
  const RunResult result = RunWhileStarting({"logs", "sft", "-f"}, {2});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out, "of attempt 1\nof attempt 2\n");
  EXPECT_EQ(refusals, 3);
  EXPECT_THAT(result.err, HasSubstr("refused (60 streams are open); retrying"));
}

TEST_F(LogsTest, RefusesAtOnceWhenNothingWasRead) {
  AddJob(v1::Job::RUNNING, 1);
  store_.on_logs = [&](const v1::StreamLogsRequest&, v1::LogChunk*) {
    return Refuse(grpc::RESOURCE_EXHAUSTED, "60 streams are open", "WATCHERS");
  };
  EXPECT_EQ(Trainctl(folder_.path(), {"logs", "sft", "-f"}).code, kRefused);
}

TEST_F(LogsTest, FollowWaitsForTheFirstAttempt) {
  AddJob(v1::Job::QUEUED, 0);
  const RunResult result = RunWhileStarting({"logs", "sft", "-f"}, {1});
  EXPECT_EQ(result.out, "of attempt 1\n");
  EXPECT_EQ(result.err, "trainctl: the job is QUEUED; waiting for attempt 1\n");
}

TEST_F(LogsTest, DoesNotWaitForAnEndedJob) {
  AddJob(v1::Job::FAILED, 2);
  RunResult result = Trainctl(folder_.path(), {"logs", "sft", "-f"});
  EXPECT_EQ(result.code, kDone);
  EXPECT_EQ(result.out, "of attempt 2\n");
  EXPECT_EQ(result.err, "");
  store_.jobs[0].set_state(v1::Job::CANCELLED);
  store_.jobs[0].set_attempt(0);
  result = Trainctl(folder_.path(), {"logs", "sft", "-f"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("no log"));
}

TEST_F(LogsTest, EndsWithTheAttemptForOneAttemptOrDocument) {
  AddJob(v1::Job::QUEUED, 1);
  EXPECT_EQ(RunWhileStarting({"logs", "sft", "-f", "--attempt", "1"}, {2}).out, "of attempt 1\n");
  EXPECT_EQ(RunWhileStarting({"logs", "sft"}, {2}).out, "of attempt 1\n");
  const RunResult json = RunWhileStarting({"logs", "sft", "-f", "-o", "json"}, {2});
  EXPECT_EQ(json.code, kDone);
  EXPECT_THAT(json.out, HasSubstr("\"next_offset\": 13"));
  EXPECT_THAT(store_.streams, IsEmpty()) << "nothing was waited for";
}

}  // namespace
}  // namespace trainerd::client
