// SPDX-License-Identifier: Apache-2.0
// The commands against the fake daemon: what they ask for, print and leave with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

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

class CommandsTest : public ::testing::Test {
 protected:
  CommandsTest() : daemon_(&store_, SocketOf(folder_.path())) {
    folder_.Write("job.yaml", kJobFile);
  }
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }

  TempDir folder_;
  FakeStore store_;
  FakeDaemon daemon_;
};

TEST_F(CommandsTest, SubmitChecksTheDataFirstAndPrintsTheName) {
  const RunResult result = Run({"submit", "job.yaml", "--set", "train.max_steps=7"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out, "jobs/aaaaaaaaaaaa\n");
  ASSERT_EQ(store_.submits.size(), 2u);
  EXPECT_TRUE(store_.submits[0].validate_only());
  EXPECT_FALSE(store_.submits[1].validate_only());
  EXPECT_EQ(store_.submits[1].config().name(), "job");
  EXPECT_EQ(store_.submits[1].config().train().max_steps(), 7);
  EXPECT_EQ(store_.submits[1].config().model().path(), folder_.path() + "/tiny");
  const RunResult again =
      Run({"submit", "job.yaml", "--no-validate", "--request-id", "mine", "-o", "json"});
  ASSERT_EQ(store_.submits.size(), 3u);
  EXPECT_EQ(store_.submits[2].request_id(), "mine");
  EXPECT_THAT(again.out, HasSubstr("\"name\": \"jobs/aaaaaaaaaaaa\""));
}

TEST_F(CommandsTest, SubmitStopsAtErrorsInTheDataAndShowsWarnings) {
  bool error = false;
  store_.on_submit = [&](const v1::SubmitJobRequest& request, v1::SubmitJobResponse* response) {
    response->mutable_job()->set_name("jobs/b");
    if (!request.validate_only()) return grpc::Status::OK;
    v1::DataReport::Finding& finding = *response->mutable_report()->add_findings();
    finding.set_code("UNKNOWN_ROLE");
    finding.set_error(error);
    finding.set_message("role \"asistant\"");
    finding.add_first_places("a.jsonl:3");
    return grpc::Status::OK;
  };
  RunResult result = Run({"submit", "job.yaml"});
  EXPECT_EQ(result.code, kDone);
  EXPECT_EQ(result.out, "jobs/b\n");
  EXPECT_THAT(result.err, HasSubstr("warning UNKNOWN_ROLE: role \"asistant\" [a.jsonl:3]"));
  error = true;
  store_.submits.clear();
  result = Run({"submit", "job.yaml"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("error UNKNOWN_ROLE"));
  EXPECT_EQ(store_.submits.size(), 1u) << "nothing was submitted";
  result = Run({"submit", "job.yaml", "--validate-only", "-o", "json"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_THAT(result.out, HasSubstr("\"report\""));
  EXPECT_EQ(Run({"submit", "job.yaml", "--no-validate"}).code, kDone);
}

TEST_F(CommandsTest, PrintsFileAndLineOfAnErrorOfTheDaemon) {
  store_.on_submit = [](const v1::SubmitJobRequest&, v1::SubmitJobResponse*) {
    google::rpc::BadRequest bad;
    auto* output = bad.add_field_violations();
    output->set_field("output.path");
    output->set_description("exists already");
    auto* model = bad.add_field_violations();
    model->set_field("model.path");
    model->set_description("no such folder");
    return Refuse(grpc::INVALID_ARGUMENT, "2 faults", bad);
  };
  const RunResult result = Run({"submit", "job.yaml"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_EQ(result.err,
            "job.yaml:2: model.path: no such folder\njob.yaml:6: output.path: exists already\n");
  EXPECT_EQ(Run({"validate", "job.yaml"}).err, result.err);
}

TEST_F(CommandsTest, ReportsErrorsInTheFileWithoutTheDaemon) {
  folder_.Write("bad.yaml", "model: {path: m}\ndata: {train: a.jsonl}\ntrain: {sed: 1}\n");
  for (const char* command : {"submit", "validate", "preview"}) {
    const RunResult result = Run({command, "bad.yaml"});
    EXPECT_EQ(result.code, kUsage) << command;
    EXPECT_THAT(result.err, HasSubstr("bad.yaml:3: train.sed: ")) << command;
    EXPECT_THAT(result.err, HasSubstr("seed"));
  }
  EXPECT_TRUE(store_.submits.empty());
  EXPECT_EQ(Run({"submit", "absent.yaml"}).code, kUsage);
  EXPECT_EQ(Run({"submit"}).code, kUsage);
}

TEST_F(CommandsTest, SubmitSuspendedSetsTheKey) {
  Run({"submit", "job.yaml", "--suspended"});
  EXPECT_TRUE(store_.submits.back().config().suspended());
  Run({"submit", "job.yaml"});
  EXPECT_FALSE(store_.submits.back().config().has_suspended());
}

TEST_F(CommandsTest, SubmitFromResolvesTheJobAndNeedsNoFile) {
  store_.AddJob("4f0123456789", "sft", v1::Job::STOPPED);
  EXPECT_EQ(
      Run({"submit", "--from", "sft/checkpoints/step-00000005-a1", "--set", "train.epochs=2"}).code,
      kDone);
  EXPECT_EQ(store_.submits.back().base(), "jobs/4f0123456789/checkpoints/step-00000005-a1");
  EXPECT_EQ(store_.submits.back().config().train().epochs(), 2);
  EXPECT_FALSE(store_.submits.back().config().has_name());
}

TEST_F(CommandsTest, SubmitWaitReturnsTheExitCodeOfTheEnd) {
  std::string checkpoint;
  store_.on_submit = [&](const v1::SubmitJobRequest& request, v1::SubmitJobResponse* response) {
    if (request.validate_only()) return grpc::Status::OK;
    const std::lock_guard lock(store_.mutex);
    v1::Job& job = store_.AddJob("aaaaaaaaaaaa", "sft", v1::Job::FAILED);
    job.mutable_error()->set_code("DATA_BAD_ROW");
    job.set_latest_checkpoint(checkpoint);
    *response->mutable_job() = job;
    return grpc::Status::OK;
  };
  for (const char* how : {"--wait", "--watch"}) {
    const RunResult result = Run({"submit", "job.yaml", how});
    EXPECT_EQ(result.code, kJobFailed);
    EXPECT_EQ(result.out, "jobs/aaaaaaaaaaaa\n");
    EXPECT_THAT(result.err, HasSubstr("DATA_BAD_ROW"));
    EXPECT_THAT(result.err, HasSubstr("it has no checkpoint, so fix the cause and submit"));
    EXPECT_THAT(result.err, Not(HasSubstr("--from"))) << "there is nothing to continue";
    const RunResult json = Run({"submit", "job.yaml", how, "-o", "json"});
    EXPECT_EQ(json.code, kJobFailed);
    EXPECT_EQ(json.out.front(), '{') << "one document: the job at its end";
    EXPECT_THAT(json.err, HasSubstr("jobs/aaaaaaaaaaaa\n"));
  }
  checkpoint = "jobs/aaaaaaaaaaaa/checkpoints/step-00000005-a1";
  EXPECT_THAT(Run({"submit", "job.yaml", "--wait"}).err,
              HasSubstr("`trainctl submit --from aaaaaaaaaaaa`"));
}

TEST_F(CommandsTest, LsFollowsThePages) {
  for (int i = 0; i < 5; ++i)
    store_.AddJob("job" + std::to_string(i), "name" + std::to_string(i), v1::Job::RUNNING);
  const RunResult table = Run({"ls"});
  for (int i = 0; i < 5; ++i)
    EXPECT_THAT(table.out,
                HasSubstr("job" + std::to_string(i) + "  name" + std::to_string(i) + "  RUNNING"));
  const RunResult limited = Run({"ls", "--limit", "3", "-o", "jsonl"});
  EXPECT_EQ(std::count(limited.out.begin(), limited.out.end(), '\n'), 3);
  const RunResult json = Run({"ls", "-o", "json"});
  EXPECT_EQ(json.out.front(), '{');
  EXPECT_THAT(json.out, HasSubstr("\"jobs/job0\""));
  EXPECT_EQ(Run({"ls", "--state", "RUNING"}).code, kUsage);
  EXPECT_EQ(Run({"ls", "--label", "novalue"}).code, kUsage);
}

TEST_F(CommandsTest, GetPrintsAJobAndItsConfiguration) {
  v1::Job& job = store_.AddJob("4f0123456789", "sft", v1::Job::FAILED);
  job.mutable_error()->set_code("WORKER_CRASHED");
  job.mutable_error()->set_message("signal 11");
  job.mutable_error()->set_log_excerpt("Traceback\n");
  job.mutable_config()->mutable_train()->set_batch_size(4);
  job.add_given("name");
  const RunResult table = Run({"get", "latest"});
  EXPECT_THAT(table.out, HasSubstr("state           FAILED\n"));
  EXPECT_THAT(table.out, HasSubstr("WORKER_CRASHED"));
  EXPECT_THAT(table.out, HasSubstr("Traceback"));
  EXPECT_THAT(Run({"get", "4f", "-o", "wide"}).out, HasSubstr("CRASHED  1-17"));
  const RunResult yaml = Run({"get", "sft", "-o", "yaml"});
  EXPECT_THAT(yaml.out, HasSubstr("name: sft"));
  EXPECT_THAT(yaml.out, HasSubstr("batch_size: 4"));
  EXPECT_THAT(yaml.out, HasSubstr("# default"));
  EXPECT_THAT(Run({"get", "4f", "-o", "json"}).out, HasSubstr("\"WORKER_CRASHED\""));
  const RunResult none = Run({"get", "nosuch"});
  EXPECT_EQ(none.code, kRefused);
  EXPECT_THAT(none.err, HasSubstr("trainctl ls"));
}

TEST_F(CommandsTest, ShowsActiveAndPastAlerts) {
  v1::Job& job = store_.AddJob("4f0123456789", "sft", v1::Job::SUCCEEDED);
  v1::Alert& active = *job.add_alerts();
  active.set_type("diverged");
  active.set_active(true);
  active.set_severity(v1::Alert::CRITICAL);
  active.set_step(31);
  active.set_message("loss 27121");
  v1::Alert& past = *job.add_alerts();
  past.set_type("loss_spike");
  past.set_severity(v1::Alert::WARNING);
  past.set_step(12);
  past.set_cleared_step(20);
  const std::string get = Run({"get", "sft"}).out;
  EXPECT_THAT(get,
              HasSubstr("alert           diverged (CRITICAL) active since step 31: loss 27121\n"));
  EXPECT_THAT(get, HasSubstr("past alert      loss_spike (WARNING) from step 12 to 20\n"));
  EXPECT_THAT(Run({"ls", "-o", "wide"}).out, HasSubstr("diverged (past: loss_spike)"));
  const RunResult waited = Run({"wait", "sft", "-o", "json"});
  EXPECT_EQ(waited.code, kDone);
  EXPECT_THAT(waited.err, HasSubstr("jobs/4f0123456789: alert diverged (CRITICAL)"));
  EXPECT_THAT(waited.err, HasSubstr("jobs/4f0123456789: past alert loss_spike"));
  EXPECT_THAT(waited.out, HasSubstr("\"type\": \"diverged\""));
}

TEST_F(CommandsTest, PauseResumeStopPrintTheNewState) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  EXPECT_EQ(Run({"pause", "sft"}).out, "jobs/4f0123456789 PAUSING\n");
  EXPECT_EQ(Run({"resume", "sft"}).out, "jobs/4f0123456789 QUEUED\n");
  EXPECT_EQ(Run({"stop", "sft", "--reason", "enough"}).out, "jobs/4f0123456789 STOPPING\n");
  EXPECT_EQ(store_.stops.back().mode(), v1::StopRequest::GRACEFUL);
  EXPECT_EQ(store_.stops.back().reason(), "enough");
  EXPECT_FALSE(store_.stops.back().request_id().empty());
  Run({"stop", "sft", "--discard"});
  EXPECT_EQ(store_.stops.back().mode(), v1::StopRequest::DISCARD);
  Run({"stop", "sft", "--force"});
  EXPECT_EQ(store_.stops.back().mode(), v1::StopRequest::FORCE);
  EXPECT_EQ(Run({"stop", "sft", "--force", "--discard"}).code, kUsage);
  store_.jobs[0].set_state(v1::Job::SUCCEEDED);
  const RunResult refused = Run({"pause", "sft"});
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_THAT(refused.err, HasSubstr("refused while the job is SUCCEEDED"));
}

TEST_F(CommandsTest, UpdateSendsTheKeysThatItGives) {
  store_.AddJob("4f0123456789", "sft", v1::Job::QUEUED).set_etag("7");
  auto& labels = *store_.jobs[0].mutable_config()->mutable_labels();
  labels["team"] = "x";
  labels["old"] = "y";
  EXPECT_EQ(Run({"update", "sft", "priority=10", "limits={max_run_time: 2h}"}).out,
            "jobs/4f0123456789 QUEUED\n");
  const v1::UpdateJobRequest first = store_.updates.back();
  EXPECT_EQ(first.job().name(), "jobs/4f0123456789");
  EXPECT_EQ(first.job().etag(), "");
  EXPECT_FALSE(first.request_id().empty());
  EXPECT_THAT(first.update_mask().paths(),
              ::testing::ElementsAre("config.priority", "config.limits.max_run_time"));
  EXPECT_EQ(first.job().config().priority(), 10);
  EXPECT_EQ(first.job().config().limits().max_run_time().seconds(), 7200);

  // One label changes among the others, and only as they were read.
  Run({"update", "sft", "labels.team=z", "labels.old=null", "labels.new=a=b"});
  const v1::UpdateJobRequest merged = store_.updates.back();
  EXPECT_THAT(merged.update_mask().paths(), ::testing::ElementsAre("config.labels"));
  EXPECT_EQ(merged.job().etag(), "7");
  EXPECT_EQ(merged.job().config().labels_size(), 2);
  EXPECT_EQ(merged.job().config().labels().at("team"), "z");
  EXPECT_EQ(merged.job().config().labels().at("new"), "a=b");

  Run({"update", "sft", "labels={only: one}", "not_before=null", "--etag", "5"});
  const v1::UpdateJobRequest replaced = store_.updates.back();
  EXPECT_EQ(replaced.job().etag(), "5");
  EXPECT_EQ(replaced.job().config().labels_size(), 1);
  EXPECT_FALSE(replaced.job().config().has_not_before());
  EXPECT_THAT(replaced.update_mask().paths(),
              ::testing::ElementsAre("config.labels", "config.not_before"));

  const size_t sent = store_.updates.size();
  for (const char* wrong : {"priority", "=1", "priority=high", "no_such_key=1", ""})
    EXPECT_EQ(Run({"update", "sft", wrong}).code, kUsage) << wrong;
  EXPECT_EQ(Run({"update", "sft"}).code, kUsage);
  EXPECT_EQ(store_.updates.size(), sent);
  EXPECT_EQ(Run({"update", "nobody", "priority=1"}).code, kRefused);
}

TEST_F(CommandsTest, ExplainPrintsReasonsAndCommands) {
  store_.AddJob("4f0123456789", "sft", v1::Job::QUEUED);
  EXPECT_EQ(Run({"explain", "sft"}).out,
            "jobs/4f0123456789 is held until it is resumed\n  HELD: it was paused\n"
            "  position in the queue: 3\n  `trainctl resume jobs/4f0123456789` lets it start\n");
  EXPECT_THAT(Run({"explain", "sft", "-o", "json"}).out, HasSubstr("\"queue_position\": 3"));
  EXPECT_EQ(Run({"explain", "nobody"}).code, kRefused);
}

TEST_F(CommandsTest, RmDeletesOnlyEndedJobs) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  EXPECT_EQ(Run({"rm", "sft"}).code, kRefused);
  store_.jobs[0].set_state(v1::Job::STOPPED);
  EXPECT_EQ(Run({"rm", "sft"}).out, "jobs/4f0123456789 deleted\n");
  store_.AddJob("4f9", "next", v1::Job::SUCCEEDED).set_deleting(true);
  EXPECT_EQ(Run({"rm", "next"}).out, "jobs/4f9 is being deleted\n");
  EXPECT_THAT(Run({"get", "latest"}).out, HasSubstr("jobs/4f0123456789"))
      << "latest is not a job that is being deleted";
}

TEST_F(CommandsTest, WaitsForAState) {
  store_.AddJob("4f0123456789", "sft", v1::Job::PAUSED);
  EXPECT_EQ(Run({"wait", "sft", "--for", "paused"}).code, kDone);
  // Still possible: the time decides.
  const RunResult late = Run({"wait", "sft", "--for", "RUNNING", "--timeout", "0.2s"});
  EXPECT_EQ(late.code, kTimeout);
  EXPECT_THAT(late.err, HasSubstr("timed out"));
  store_.jobs[0].set_state(v1::Job::STOPPED);
  const RunResult never = Run({"wait", "sft", "--for", "RUNNING"});
  EXPECT_EQ(never.code, kRefused);
  EXPECT_THAT(never.err, HasSubstr("can no longer reach the requested state"));
  EXPECT_EQ(Run({"wait", "sft"}).code, kJobStopped);
  EXPECT_EQ(Run({"wait", "sft", "--for", "STOPPED"}).code, kDone);
  store_.jobs[0].set_state(v1::Job::SUCCEEDED);
  EXPECT_EQ(Run({"wait", "sft", "-o", "json"}).code, kDone);
  EXPECT_EQ(Run({"wait", "sft", "--for", "DONE"}).code, kUsage);
  EXPECT_EQ(Run({"wait", "sft", "--timeout", "soon"}).code, kUsage);
}

TEST_F(CommandsTest, WaitSurvivesLostConnectionsAndSeesEachState) {
  constexpr char kJob[] = "jobs/4f0123456789";
  store_.AddJob("4f0123456789", "sft", v1::Job::QUEUED);
  store_.break_stream_after = {{0, 0}, {1, 0}};
  std::thread runs([&] {
    // Once the snapshot of a queued job was sent and the stream is open.
    while (true) {
      const std::lock_guard lock(store_.mutex);
      if (!store_.streams.empty()) break;
    }
    const std::lock_guard lock(store_.mutex);
    store_.AddStateChange(kJob, v1::Job::QUEUED, v1::Job::RUNNING);
    store_.AddStateChange(kJob, v1::Job::RUNNING, v1::Job::SUCCEEDED);
    store_.jobs[0].set_state(v1::Job::SUCCEEDED);
  });
  const RunResult result = Run({"wait", "sft", "--for", "RUNNING"});
  runs.join();
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_THAT(result.err, HasSubstr("connection lost (Socket closed)"));
  EXPECT_THAT(result.err, HasSubstr("reconnected"));
  EXPECT_EQ(store_.streams.back().event_types(0), "state_changed");
}

TEST_F(CommandsTest, WaitWithoutTimeChecksOnce) {
  store_.AddJob("4f0123456789", "sft", v1::Job::PAUSED);
  EXPECT_EQ(Run({"wait", "sft", "--for", "PAUSED", "--timeout", "0"}).code, kDone);
  EXPECT_EQ(Run({"wait", "sft", "--for", "RUNNING", "--timeout", "0"}).code, kTimeout);
}

TEST_F(CommandsTest, LogsContinueAtTheByteAfterReconnecting) {
  store_.AddJob("4f0123456789", "sft", v1::Job::SUCCEEDED).set_attempt(2);
  store_.log = "line one\nline two\nline three\n";
  store_.break_log_after = 12;
  const RunResult result = Run({"logs", "sft", "-f", "--tail", "5"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out, store_.log);
  EXPECT_THAT(result.err, HasSubstr("retrying"));
  ASSERT_EQ(store_.log_reads.size(), 2u);
  EXPECT_EQ(store_.log_reads[0].tail_lines(), 5);
  EXPECT_TRUE(store_.log_reads[0].follow());
  EXPECT_EQ(store_.log_reads[1].tail_lines(), 0);
  EXPECT_EQ(store_.log_reads[1].attempt(), 2) << "the attempt that was being read, not a newer one";
  EXPECT_EQ(store_.log_reads[1].after_offset(), 12);
  const RunResult json = Run({"logs", "sft", "-o", "json"});
  EXPECT_THAT(json.out, HasSubstr("\"next_offset\": 29"));
}

TEST_F(CommandsTest, LogsOnATerminalHaveNoControlCharacters) {
  store_.AddJob("4f0123456789", "sft", v1::Job::SUCCEEDED).set_attempt(2);
  store_.log = "ab日\x1b[2Jc\n";
  store_.break_log_after = 3;  // inside the wide character
  const RunResult result = Trainctl(folder_.path(), {"logs", "sft", "-f"},
                                    [](Environment* env) { env->out_is_terminal = true; });
  EXPECT_EQ(result.out, "ab日?[2Jc\n");
}

TEST_F(CommandsTest, ReportsUnwritableOutput) {
  class Full : public std::streambuf {};  // takes no character
  Full full;
  std::ostream out(&full);
  const RunResult result =
      Trainctl(folder_.path(), {"ls"}, [&](Environment* env) { env->out = &out; });
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("cannot write the output"));
}

TEST_F(CommandsTest, CheckpointsLs) {
  v1::Job& job = store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  job.set_latest_checkpoint("jobs/4f0123456789/checkpoints/step-00000010-a1");
  for (int step : {10, 5}) {
    v1::Checkpoint& checkpoint = store_.checkpoints.emplace_back();
    checkpoint.set_name("jobs/4f0123456789/checkpoints/step-000000" +
                        std::string(step == 5 ? "05" : "10") + "-a1");
    checkpoint.set_step(step);
    checkpoint.set_verified(true);
    checkpoint.set_has_optimizer(true);
    checkpoint.set_deleted(step == 5);
  }
  const RunResult table = Run({"checkpoints", "ls", "sft"});
  EXPECT_THAT(table.out, HasSubstr("step-00000010-a1  10"));
  EXPECT_THAT(table.out, HasSubstr("verified, resume point"));
  EXPECT_THAT(table.out, Not(HasSubstr("step-00000005-a1")));
  EXPECT_THAT(Run({"checkpoints", "ls", "sft", "--all"}).out, HasSubstr("deleted"));
  store_.checkpoints[0].set_damage("model.safetensors has 2 bytes instead of 4");
  EXPECT_THAT(Run({"checkpoints", "ls", "sft"}).out,
              HasSubstr("damaged: model.safetensors has 2 bytes instead of 4, resume point"));
  EXPECT_THAT(Run({"checkpoints", "ls", "sft", "-o", "json"}).out, HasSubstr("\"checkpoints\""));
  store_.checkpoints[0].clear_damage();
  store_.checkpoints[0].set_adapter(true);
  EXPECT_THAT(Run({"checkpoints", "ls", "sft", "-o", "wide"}).out,
              HasSubstr("verified, resume point, adapter"));
  EXPECT_THAT(Run({"checkpoints", "ls", "sft", "-o", "json"}).out, HasSubstr("\"adapter\": true"));
}

}  // namespace
}  // namespace trainerd::client
