// SPDX-License-Identifier: Apache-2.0
// What watch prints is compared with the fake daemon's event log: every event once, in order, over
// broken connections and restarts. Exit codes are those of the stable command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "client/net/status_watch.h"
#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kJob[] = "jobs/4f0123456789";

class WatchTest : public ::testing::Test {
 protected:
  // A job with `steps` steps that ended as `end`, all of it in the log.
  void AddEndedJob(v1::Job::State end, int steps = 6) {
    v1::Job& job = store_.AddJob("4f0123456789", "sft", end);
    job.mutable_error()->set_code("WORKER_CRASHED");
    job.mutable_error()->set_message("signal 11");
    store_.AddStateChange(kJob, v1::Job::QUEUED, v1::Job::RUNNING);
    for (int step = 1; step <= steps; ++step) store_.AddStep(kJob, step, 3.0 - 0.1 * step);
    store_.AddStateChange(kJob, v1::Job::RUNNING, end);
  }
  void Start() { daemon_ = std::make_unique<FakeDaemon>(&store_, SocketOf(folder_.path())); }

  std::string SeqsOf(const std::string& jsonl) {
    std::string seqs;
    std::istringstream lines(jsonl);
    for (std::string line; std::getline(lines, line);) {
      const size_t at = line.find("\"seq\":");
      EXPECT_NE(at, std::string::npos) << line;
      seqs += line.substr(at + 6, line.find(',', at) - at - 6) + " ";
    }
    return seqs;
  }

  TempDir folder_;
  FakeStore store_;
  std::unique_ptr<FakeDaemon> daemon_;
};

TEST_F(WatchTest, PrintsOneLinePerEventOnAPipe) {
  AddEndedJob(v1::Job::SUCCEEDED, 2);
  Start();
  const RunResult result = Trainctl(folder_.path(), {"watch", "latest", "--after", "begin"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_THAT(result.out, HasSubstr("QUEUED -> RUNNING\n"));
  EXPECT_THAT(result.out, HasSubstr("step 2/100  loss 2.8000"));
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 4);
  EXPECT_THAT(result.out, Not(HasSubstr("\x1b")));
}

TEST_F(WatchTest, SaysOnAPipeHowAnEndedJobEnded) {
  AddEndedJob(v1::Job::SUCCEEDED, 2);
  Start();
  const RunResult result = Trainctl(folder_.path(), {"watch", "4f"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out,
            "jobs/4f0123456789 SUCCEEDED: the model is in /state/runs/4f0123456789/final\n");
  EXPECT_EQ(Trainctl(folder_.path(), {"watch", "4f", "-o", "jsonl"}).out, "");
  store_.jobs[0].set_state(v1::Job::CANCELLED);
  EXPECT_EQ(Trainctl(folder_.path(), {"watch", "4f"}).out, "jobs/4f0123456789 CANCELLED\n");
}

TEST_F(WatchTest, ReturnsTheExitCodeOfTheEnd) {
  AddEndedJob(v1::Job::FAILED, 1);
  Start();
  const RunResult failed = Trainctl(folder_.path(), {"watch", "4f"});
  EXPECT_EQ(failed.code, kJobFailed);
  EXPECT_THAT(failed.err, HasSubstr("WORKER_CRASHED: signal 11"));
  EXPECT_THAT(failed.err, HasSubstr("trainctl logs 4f0123456789"));
  for (v1::Job::State state : {v1::Job::STOPPED, v1::Job::CANCELLED}) {
    store_.jobs[0].set_state(state);
    EXPECT_EQ(Trainctl(folder_.path(), {"watch", "4f"}).code, kJobStopped);
  }
}

TEST_F(WatchTest, PrintsTheErrorOnceIfTheEventsHaveIt) {
  AddEndedJob(v1::Job::FAILED, 1);
  store_.events.back().mutable_state_changed()->mutable_error()->set_code("WORKER_CRASHED");
  store_.events.back().mutable_state_changed()->mutable_error()->set_message("signal 11");
  Start();
  const RunResult result = Trainctl(folder_.path(), {"watch", "4f", "--after", "begin"});
  EXPECT_THAT(result.out, HasSubstr("FAILED (WORKER_CRASHED: signal 11)"));
  EXPECT_THAT(result.err, HasSubstr("jobs/4f0123456789 failed\n"));
  EXPECT_THAT(result.err, Not(HasSubstr("signal 11")));
}

TEST_F(WatchTest, ReconnectsByCursorWithoutGapsOrRepeats) {
  AddEndedJob(v1::Job::SUCCEEDED);
  // Streams that break after 0, 1, 2 … of their events.
  store_.break_stream_after = {{0, 0}, {1, 1}, {2, 2}, {3, 0}, {4, 3}};
  Start();
  const RunResult result =
      Trainctl(folder_.path(), {"watch", "sft", "--after", "begin", "-o", "jsonl"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(SeqsOf(result.out), "1 2 3 4 5 6 7 8 ");
  EXPECT_THAT(result.err, HasSubstr("connection lost (Socket closed); retrying"));
  EXPECT_THAT(result.err, HasSubstr("reconnected"));
  ASSERT_EQ(store_.streams.size(), 6u);
  EXPECT_EQ(store_.streams[2].after(), "c1");
  EXPECT_EQ(store_.streams[3].after(), "c3");
  EXPECT_FALSE(store_.streams[3].send_snapshot());
}

TEST_F(WatchTest, SurvivesARestartOfTheDaemon) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  for (int step = 1; step <= 3; ++step) store_.AddStep(kJob, step, 1);
  std::atomic<int> sent{0};
  store_.after_event = [&](const v1::Event&) { ++sent; };
  Start();
  std::thread restart([&] {
    while (sent < 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    daemon_.reset();
    {
      // What happens while it is down is in the log of the next one.
      const std::lock_guard lock(store_.mutex);
      for (int step = 4; step <= 6; ++step) store_.AddStep(kJob, step, 1);
      store_.AddStateChange(kJob, v1::Job::RUNNING, v1::Job::SUCCEEDED);
      store_.jobs[0].set_state(v1::Job::SUCCEEDED);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    Start();
  });
  const RunResult result =
      Trainctl(folder_.path(), {"watch", "4f", "--after", "begin", "-o", "jsonl"});
  restart.join();
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(SeqsOf(result.out), "1 2 3 4 5 6 7 ");
  EXPECT_THAT(result.err, HasSubstr("retrying"));
  EXPECT_THAT(result.err, HasSubstr("reconnected"));
}

TEST_F(WatchTest, ReplacesAnExpiredCursorByASnapshotAfterReconnecting) {
  AddEndedJob(v1::Job::SUCCEEDED);
  store_.break_stream_after = {{0, 2}};
  store_.after_event = [&](const v1::Event& event) {
    if (event.seq() == 2) store_.expired_below = 5;
  };
  Start();
  const RunResult result =
      Trainctl(folder_.path(), {"watch", "4f", "--after", "begin", "-o", "jsonl"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_THAT(result.err, HasSubstr("deleted events that were not read yet"));
  EXPECT_TRUE(store_.streams.back().send_snapshot());
}

TEST_F(WatchTest, ReplacesAnExpiredCursorOfTheUserByASnapshot) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  for (int step = 1; step <= 6; ++step) store_.AddStep(kJob, step, 1);
  store_.expired_below = 5;
  Start();
  std::thread end([&] {
    while (true) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      const std::lock_guard lock(store_.mutex);
      if (store_.streams.empty() || !store_.streams.back().send_snapshot()) continue;
      store_.jobs[0].set_state(v1::Job::SUCCEEDED);
      store_.AddStateChange(kJob, v1::Job::RUNNING, v1::Job::SUCCEEDED);
      return;
    }
  });
  const RunResult result =
      Trainctl(folder_.path(), {"watch", "4f", "--after", "c2", "-o", "jsonl"});
  end.join();
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_THAT(result.err, HasSubstr("deleted events that were not read yet"));
  EXPECT_THAT(result.err, HasSubstr("continuing from a new snapshot"));
  ASSERT_EQ(store_.streams.size(), 2u);
  EXPECT_EQ(store_.streams[0].after(), "c2");
  EXPECT_TRUE(store_.streams[1].send_snapshot());
}

TEST_F(WatchTest, EndsAtOnceForACursorPastTheEnd) {
  AddEndedJob(v1::Job::STOPPED, 2);
  Start();
  const RunResult result = Trainctl(folder_.path(), {"watch", "4f", "--after", "c4"});
  EXPECT_EQ(result.code, kJobStopped);
  EXPECT_EQ(result.out, "");
}

// An output whose reader presses Ctrl-C when so many lines have arrived.
class InterruptingOutput : public std::stringbuf {
 public:
  explicit InterruptingOutput(int lines) : lines_(lines) {}

 protected:
  int sync() override {
    const std::string text = str();
    if (!pressed_ && std::count(text.begin(), text.end(), '\n') >= lines_) {
      pressed_ = true;
      kill(getpid(), SIGINT);
    }
    return 0;
  }

 private:
  const int lines_;
  bool pressed_ = false;
};

TEST_F(WatchTest, ReportsThatTheJobKeepsRunningAfterCtrlC) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  store_.AddStep(kJob, 1, 2.5);
  store_.AddStep(kJob, 2, 2.4);
  Start();
  InterruptingOutput buffer(2);
  std::ostream out(&buffer);
  const RunResult result =
      Trainctl(folder_.path(), {"watch", "4f", "--after", "begin", "-o", "jsonl"},
               [&](Environment* env) { env->out = &out; });
  EXPECT_EQ(result.code, kInterrupted);
  EXPECT_THAT(result.err, HasSubstr("jobs/4f0123456789 keeps running"));
  EXPECT_THAT(result.err, HasSubstr("trainctl watch 4f0123456789 --after c2`"));
  EXPECT_EQ(SeqsOf(buffer.str()), "1 2 ");
  EXPECT_EQ(store_.jobs[0].state(), v1::Job::RUNNING);
  EXPECT_TRUE(store_.stops.empty());
}

TEST_F(WatchTest, ReportsWhatAJobDoesAfterCtrlCInEachState) {
  struct Case {
    v1::Job::State state;
    v1::Job::DesiredState desired;
    v1::Job::WaitReason wait;
    std::string continues;
    bool can_stop;
  };
  const std::vector<Case> cases = {
      {v1::Job::STARTING, v1::Job::DESIRED_RUN, v1::Job::WAIT_REASON_UNSPECIFIED, "keeps running;",
       true},
      {v1::Job::PAUSING, v1::Job::DESIRED_PAUSE, v1::Job::WAIT_REASON_UNSPECIFIED,
       "keeps running until it is paused;", true},
      {v1::Job::PAUSED, v1::Job::DESIRED_PAUSE, v1::Job::WAIT_REASON_UNSPECIFIED,
       "is PAUSED and waits for `trainctl resume 4f0123456789`;", true},
      {v1::Job::QUEUED, v1::Job::DESIRED_RUN, v1::Job::RESOURCES,
       "is QUEUED and waits for a free device;", true},
      {v1::Job::QUEUED, v1::Job::DESIRED_PAUSE, v1::Job::HELD,
       "is QUEUED and waits for `trainctl resume 4f0123456789`;", true},
      {v1::Job::STOPPING, v1::Job::DESIRED_STOP, v1::Job::WAIT_REASON_UNSPECIFIED,
       "keeps running until it has stopped;", false},
      {v1::Job::SUCCEEDED, v1::Job::DESIRED_RUN, v1::Job::WAIT_REASON_UNSPECIFIED,
       "has ended as SUCCEEDED\n", false}};
  v1::Job& job = store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  store_.AddStep(kJob, 1, 2.5);
  Start();
  for (const Case& with : cases) {
    job.set_state(with.state);
    job.set_desired_state(with.desired);
    job.set_wait_reason(with.wait);
    InterruptingOutput buffer(1);
    std::ostream out(&buffer);
    const RunResult result = Trainctl(folder_.path(), {"watch", "4f", "--after", "begin"},
                                      [&](Environment* env) { env->out = &out; });
    EXPECT_EQ(result.code, kInterrupted);
    EXPECT_THAT(result.err, HasSubstr("trainctl: jobs/4f0123456789 " + with.continues));
    EXPECT_EQ(result.err.find("trainctl stop 4f0123456789") != std::string::npos, with.can_stop)
        << result.err;
    EXPECT_EQ(result.err.find("continue watching") == std::string::npos,
              with.state == v1::Job::SUCCEEDED)
        << result.err;
  }
}

TEST_F(WatchTest, NamesTheStateThatAnEventBroughtAfterCtrlC) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  store_.AddStateChange(kJob, v1::Job::RUNNING, v1::Job::PAUSING);
  Start();
  InterruptingOutput buffer(1);
  std::ostream out(&buffer);
  const RunResult result =
      Trainctl(folder_.path(), {"watch", "4f", "--after", "begin", "-o", "jsonl"},
               [&](Environment* env) { env->out = &out; });
  EXPECT_EQ(result.code, kInterrupted);
  EXPECT_THAT(result.err, HasSubstr("keeps running until it is paused"));
}

TEST_F(WatchTest, NamesWhatAPausedJobWaitsFor) {
  v1::Job& job = store_.AddJob("4f0123456789", "sft", v1::Job::PAUSED);
  job.set_desired_state(v1::Job::DESIRED_PAUSE);
  store_.after_event = [&](const v1::Event&) { kill(getpid(), SIGINT); };
  Start();
  std::thread resumes([&] {
    while (true) {
      const std::lock_guard lock(store_.mutex);
      if (!store_.streams.empty()) break;
    }
    const std::lock_guard lock(store_.mutex);
    store_.AddStateChange(kJob, v1::Job::PAUSED, v1::Job::QUEUED);
  });
  const RunResult result = Trainctl(folder_.path(), {"watch", "4f"});
  resumes.join();
  EXPECT_THAT(result.err, HasSubstr("trainctl: jobs/4f0123456789 is PAUSED and waits for `trainctl "
                                    "resume 4f0123456789`\n"));
}

TEST_F(WatchTest, WatchesAllJobsWithoutAJob) {
  store_.AddJob("aa", "one", v1::Job::SUCCEEDED);
  store_.AddJob("bb", "two", v1::Job::RUNNING);
  store_.AddStep("jobs/aa", 1, 2.5);
  store_.AddStep("jobs/bb", 1, 2.4);
  Start();
  InterruptingOutput buffer(2);
  std::ostream out(&buffer);
  const RunResult result = Trainctl(folder_.path(), {"watch", "--after", "begin"},
                                    [&](Environment* env) { env->out = &out; });
  EXPECT_EQ(result.code, kInterrupted) << "an ended job does not end the watch";
  EXPECT_THAT(buffer.str(), HasSubstr("  aa  a1  metrics"));
  EXPECT_THAT(buffer.str(), HasSubstr("  bb  a1  metrics"));
  EXPECT_EQ(store_.streams[0].parent(), "jobs/-");
  EXPECT_FALSE(store_.streams[0].until_terminal());
}

TEST_F(WatchTest, ShowsHistoryAndEventsOnATerminal) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  for (int step = 1; step <= 40; ++step) store_.AddStep(kJob, step, 3.0 - 0.05 * step);
  std::atomic<bool> ended{false};
  store_.after_event = [&](const v1::Event& event) {
    // The history was read: the job continues and ends.
    if (event.seq() != 40 || ended.exchange(true)) return;
    const std::lock_guard lock(store_.mutex);
    store_.AddStep(kJob, 41, 0.95);
    store_.AddStateChange(kJob, v1::Job::RUNNING, v1::Job::SUCCEEDED);
    store_.jobs[0].set_state(v1::Job::SUCCEEDED);
  };
  Start();
  int columns = 100;
  const RunResult result = Trainctl(folder_.path(), {"watch", "4f"}, [&](Environment* env) {
    env->out_is_terminal = true;
    // Every look finds another size, as when a window is dragged.
    env->terminal_size = [&columns] {
      return TerminalSize{.columns = columns = columns == 100 ? 60 : 100, .rows = 20};
    };
  });
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_THAT(result.out, HasSubstr("sft   SUCCEEDED"));
  EXPECT_THAT(result.out, HasSubstr("41/100 steps"));
  EXPECT_THAT(result.out, HasSubstr("█▇")) << "the curve holds what was before the watch began";
  EXPECT_THAT(result.out, HasSubstr("RUNNING -> SUCCEEDED\r\n"))
      << "notable events scroll by above the view";
  EXPECT_THAT(result.out, HasSubstr("\x1b[J"));
  EXPECT_THAT(result.out, HasSubstr("the model is in /state/runs/4f0123456789/final"));
}

TEST_F(WatchTest, PrintsTheJobAtItsEndAsJson) {
  AddEndedJob(v1::Job::SUCCEEDED, 2);
  Start();
  const RunResult result = Trainctl(folder_.path(), {"watch", "4f", "-o", "json"});
  EXPECT_EQ(result.code, kDone);
  EXPECT_EQ(result.out.front(), '{');
  EXPECT_THAT(result.out, HasSubstr("\"SUCCEEDED\""));
  EXPECT_THAT(result.out, Not(HasSubstr("\"seq\"")));
  EXPECT_EQ(Trainctl(folder_.path(), {"watch", "-o", "json"}).code, kUsage);
}

class RecordingSink : public WatchSink {
 public:
  void OnEvents(const google::protobuf::RepeatedPtrField<v1::Event>&) override {}
  void OnConnectionLost(const absl::Status& why) override { reason = std::string(why.message()); }
  void OnConnectionBack() override {}
  void OnCursorExpired() override {}
  bool OnTick() override { return reason.empty(); }
  std::string reason;
};

TEST_F(WatchTest, TreatsSilenceAsALostConnection) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  Start();
  const auto connection = Connection::Open(*ResolveAddress({}, [&] {
    Environment env;
    env.state_dir = folder_.path();
    return env;
  }()));
  ASSERT_TRUE(connection.ok());
  RecordingSink sink;
  const WatchEnd end =
      Watch(**connection,
            {.parent = kJob, .until_terminal = true, .silence = absl::Milliseconds(200)}, &sink);
  EXPECT_EQ(end.kind, WatchEnd::Kind::kLeft);
  EXPECT_THAT(sink.reason, HasSubstr("no message from the daemon for"));
  EXPECT_EQ(end.cursor, "c0");
}

}  // namespace
}  // namespace trainerd::client
