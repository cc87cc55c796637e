// SPDX-License-Identifier: Apache-2.0
// The reconciler with everything real but processes and time: store, ingester, spools, checkpoint
// folders, disk worker. Invariants T1 to T8 and T11 where they need more than a pure function.
#include "server/jobs/reconciler.h"

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/contract/attempt_files.h"
#include "proto/contract/hash.h"
#include "proto/contract/job_state.h"
#include "proto/contract/manifest.h"
#include "proto/contract/spool_writer.h"
#include "server/jobs/job_manager.h"
#include "server/store/run_rows.h"
#include "tests/server/jobs/fake_executor.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;
using Kind = Observation::Kind;

class ReconcilerTest : public ::testing::Test {
 protected:
  ReconcilerTest() {
    std::filesystem::create_directories(dir_ / "model");
    std::ofstream(dir_ / "d.jsonl") << "{}\n";
    Start();
  }
  ~ReconcilerTest() override { Crash(); }

  // T3, whatever the test was about: replaying the state events gives what the rows say.
  void TearDown() override {
    std::map<std::string, v1::StateChanged> last;
    for (const v1::Event& e : recorder_.Events()) {
      if (e.has_notice() && e.notice().code() == "JOB_DELETED") last.erase(e.job());
      if (!e.has_state_changed()) continue;
      EXPECT_EQ(e.state_changed().from(), last[e.job()].to()) << e.ShortDebugString();
      EXPECT_FALSE(IsTerminal(last[e.job()].to())) << "T1: " << e.ShortDebugString();
      last[e.job()] = e.state_changed();
    }
    for (const auto& [name, change] : last) {
      const Job job = Get(JobId(name));
      EXPECT_EQ(change.to(), job.state()) << name;
      EXPECT_EQ(change.desired_state(), job.desired_state()) << name;
      EXPECT_EQ(change.wait_reason(), job.wait_reason()) << name;
      EXPECT_EQ(change.attempt(), job.attempt()) << name;
      EXPECT_EQ(change.error().code(), job.error().code()) << name;
    }
  }

  // A daemon begins, with whatever an earlier one left.
  void Start() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = recorder_.Listener(),
                              .clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
    devices_ = std::make_unique<DeviceTable>();
    v1::Device cpu;
    cpu.set_name("cpu");
    devices_->Set({cpu});
    activity_ = std::make_unique<ActivityTable>();
    disk_ = std::make_unique<DiskWorker>();
    housekeeping_ = std::make_unique<Housekeeping>(
        Housekeeping::Options{.runs_dir = dir_ / "runs",
                              .clock = clock_.Function(),
                              .free_bytes = [this](const std::string&) { return free_bytes_; }},
        *store_, *disk_);
    auto watcher = SpoolWatcher::Create();
    ASSERT_OK(watcher.status());
    ingester_ =
        std::make_unique<Ingester>(*store_, *std::move(watcher), *activity_, Ingester::Hooks{});
    reconciler_ = std::make_unique<Reconciler>(
        Reconciler::Options{
            .launch = {.worker_path = "worker", .cpu_threads = 2},
            .shim_path = "shim",
            .runs_dir = dir_ / "runs",
            .clock = clock_.Function(),
            .boot_id = "this boot",
            .is_executable = [this](const std::string& p) { return p != missing_; }},
        Reconciler::Parts{*store_, executor_, *ingester_, *activity_, *devices_, *disk_,
                          *housekeeping_});
    jobs_ = std::make_unique<JobManager>(
        JobManager::Options{.runs_dir = dir_ / "runs",
                            .clock = clock_.Function(),
                            .remove = [this](const std::string& id) { housekeeping_->Delete(id); }},
        *store_, *devices_);
    ASSERT_OK(reconciler_->Recover());
  }
  // The daemon is gone without a word.
  void Crash() {
    if (reconciler_ == nullptr) return;
    reconciler_->Stop();
    jobs_.reset();
    reconciler_.reset();
    ingester_.reset();
    housekeeping_.reset();
    disk_.reset();
    store_.reset();
  }

  std::string Submit(const std::string& id, const std::string& yaml = "") {
    v1::SubmitJobRequest request;
    request.set_job_id(id);
    YamlToMessage("model: {path: " + (dir_ / "model") + "}\ndata: {train: [" + (dir_ / "d.jsonl") +
                      "]}\n" + yaml,
                  request.mutable_config());
    auto response = jobs_->Submit(request, "t");
    EXPECT_TRUE(response.ok()) << response.status();
    return "jobs/" + id;
  }
  void Round() {
    ingester_->PassOnce();
    disk_->WaitIdle();
    reconciler_->Step();
    disk_->WaitIdle();
  }
  // Rounds until the job is in that state; a fifth of a second passes with each.
  bool Until(const std::string& id, Job::State state, int rounds = 60) {
    for (int i = 0; i < rounds; ++i) {
      if (Load(*store_, id).job.state() == state) return true;
      Round();
      clock_.Advance(absl::Milliseconds(200));
    }
    ADD_FAILURE() << id << " is " << StateName(Load(*store_, id).job.state());
    return false;
  }
  void Rounds(int count) {
    for (int i = 0; i < count; ++i) {
      Round();
      clock_.Advance(absl::Milliseconds(200));
    }
  }
  Job Get(const std::string& id) { return Load(*store_, id).job; }
  std::string RunDir(const std::string& id) { return dir_ / ("runs/" + id); }

  // What the worker of the newest attempt writes into its spool.
  void Spool(const std::string& id, const std::vector<std::string>& events) {
    const std::string attempt_dir = AttemptDir(RunDir(id), Get(id).attempt());
    auto writer = SpoolWriter::Open(attempt_dir, 1 << 20);
    ASSERT_OK(writer.status());
    for (const std::string& text : events) {
      ASSERT_OK((*writer)->Append(FromText<v1::Event>(text), /*droppable=*/false));
    }
    ASSERT_OK((*writer)->Sync());
  }
  static std::string Step(int64_t step) {
    return absl::StrCat("metrics {step: ", step, " loss: 1 tokens: 10}");
  }
  // A folder with a manifest that holds.
  void WriteFolder(const std::string& path, const std::string& id, int64_t step, int attempt,
                   const std::string& parent, const std::string& kind) {
    std::filesystem::create_directories(path);
    const std::string bytes = absl::StrCat("weights of step ", step);
    std::ofstream(path + "/model.safetensors") << bytes;
    Manifest manifest{
        .job = "jobs/" + id, .attempt = attempt, .step = step, .parent = parent, .kind = kind};
    manifest.create_time = "2026-11-24T07:00:00Z";
    manifest.has_optimizer = true;
    manifest.files["model.safetensors"] = {static_cast<int64_t>(bytes.size()), ToHex(Xxh3(bytes))};
    std::ofstream(path + "/MANIFEST.json") << ManifestToJson(manifest);
  }
  // A checkpoint on disk; its event too if asked for. Answers its resource name.
  std::string Checkpoint(const std::string& id, int64_t step, const std::string& parent = "",
                         bool event = true) {
    const int attempt = Get(id).attempt();
    const std::string name = absl::StrFormat("step-%08d-a%d", step, attempt);
    const std::string path = RunDir(id) + "/checkpoints/" + name;
    WriteFolder(path, id, step, attempt, parent, "checkpoint");
    const std::string full = absl::StrCat("jobs/", id, "/checkpoints/", name);
    if (event) {
      Spool(id, {absl::StrCat("checkpoint {kind: PUBLISHED checkpoint {name: '", full, "' step: ",
                              step, " verified: true has_optimizer: true size_bytes: 100 path: '",
                              path, "' parent: '", parent, "'}}")});
    }
    return full;
  }
  std::string StartRunning(const std::string& id, const std::string& yaml = "") {
    const std::string name = Submit(id, yaml);
    EXPECT_TRUE(Until(id, Job::STARTING));
    Spool(id, {"stage {stage: 'Train'}"});
    EXPECT_TRUE(Until(id, Job::RUNNING));
    return name;
  }
  void Command(absl::StatusOr<Job> answer) { ASSERT_OK(answer.status()); }
  v1::PauseRequest Pause(const std::string& id) {
    return FromText<v1::PauseRequest>("name: 'jobs/" + id + "'");
  }
  v1::ResumeRequest Resume(const std::string& id) {
    return FromText<v1::ResumeRequest>("name: 'jobs/" + id + "'");
  }
  v1::StopRequest Stop(const std::string& id, const std::string& mode = "GRACEFUL") {
    return FromText<v1::StopRequest>("name: 'jobs/" + id + "' mode: " + mode);
  }
  bool Active(const std::string& id, const std::string& condition) {
    return IsConditionActive(Get(id), condition);
  }
  std::string DeviceHolder() { return devices_->List()[0].job(); }
  std::vector<v1::CheckpointEvent> CheckpointEvents(v1::CheckpointEvent::Kind kind) {
    std::vector<v1::CheckpointEvent> found;
    for (const v1::Event& e : recorder_.Events()) {
      if (e.has_checkpoint() && e.checkpoint().kind() == kind) found.push_back(e.checkpoint());
    }
    return found;
  }

  TempDir dir_;
  FakeClock clock_;
  EventRecorder recorder_;
  FakeExecutor executor_;
  std::string missing_;
  int64_t free_bytes_ = -1;
  std::unique_ptr<Store> store_;
  std::unique_ptr<DeviceTable> devices_;
  std::unique_ptr<ActivityTable> activity_;
  std::unique_ptr<DiskWorker> disk_;
  std::unique_ptr<Housekeeping> housekeeping_;
  std::unique_ptr<Ingester> ingester_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<JobManager> jobs_;
};

TEST_F(ReconcilerTest, JobRunsToItsVerifiedFinalModel) {
  const std::string name = StartRunning("a");
  EXPECT_EQ(DeviceHolder(), name);
  const internal::AttemptSpec spec = executor_.launches.at(0);
  EXPECT_EQ(spec.device(), "cpu") << "auto on a machine without cuda";
  EXPECT_EQ(spec.cpu_threads(), 2);
  EXPECT_EQ(spec.config().config_digest(), Get("a").config_digest());
  Spool("a", {Step(1), Step(2)});
  WriteFolder(RunDir("a") + "/final", "a", 2, 1, "", "final");
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 2);
  ASSERT_TRUE(Until("a", Job::SUCCEEDED));
  EXPECT_EQ(DeviceHolder(), "");
  EXPECT_EQ(executor_.shutdowns.size(), 1u);
  EXPECT_TRUE(Get("a").has_end_time());
}

// T11
TEST_F(ReconcilerTest, FinalModelThatDoesNotReadBackIsNoSuccess) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1)});
  WriteFolder(RunDir("a") + "/final", "a", 1, 1, "", "final");
  std::ofstream(RunDir("a") + "/final/model.safetensors") << "weights of step X";
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").error().code(), "FINAL_NOT_VERIFIED");
}

TEST_F(ReconcilerTest, TheWholeSpoolComesBeforeTheTerminalState) {
  const std::string name = StartRunning("a");
  std::vector<std::string> steps;
  for (int i = 1; i <= 1500; ++i) steps.push_back(Step(i));
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1500);
  Spool("a", steps);
  WriteFolder(RunDir("a") + "/final", "a", 1500, 1, "", "final");
  ASSERT_TRUE(Until("a", Job::SUCCEEDED));
  int64_t step = 0;
  const std::vector<v1::Event> events = recorder_.Events();
  for (const v1::Event& e : events) {
    if (e.has_metrics()) {
      EXPECT_EQ(e.metrics().step(), ++step) << "once, in order, without a gap";
    }
  }
  EXPECT_EQ(step, 1500);
  EXPECT_EQ(events.back().state_changed().to(), Job::SUCCEEDED);
}

// T5
TEST_F(ReconcilerTest, PausedNamesItsVerifiedResumePointAndFreesTheDevice) {
  const std::string name = StartRunning("a", "limits: {stop_grace: 60s}");
  Spool("a", {Step(1), Step(2)});
  Command(jobs_->Pause(Pause("a"), "t"));
  Rounds(2);
  ASSERT_FALSE(executor_.signals.empty());
  EXPECT_EQ(executor_.signals[0].want, internal::PAUSE);
  EXPECT_GT(executor_.signals[0].grace, absl::Seconds(50));
  EXPECT_EQ(Get("a").state(), Job::PAUSING);
  EXPECT_EQ(DeviceHolder(), name);
  const std::string checkpoint = Checkpoint("a", 2);
  executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK, 2);
  ASSERT_TRUE(Until("a", Job::PAUSED));
  EXPECT_EQ(Get("a").latest_checkpoint(), checkpoint);
  EXPECT_EQ(DeviceHolder(), "");
  Command(jobs_->Resume(Resume("a"), "t"));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.at(1).attempt(), 2);
  EXPECT_EQ(executor_.launches.at(1).resume_name(), checkpoint);
  EXPECT_EQ(Get("a").progress().step(), 2);
  EXPECT_EQ(Get("a").progress().tokens(), 20);
}

TEST_F(ReconcilerTest, PauseBeforeThereIsACheckpointHoldsTheJobInTheQueue) {
  const std::string name = StartRunning("a");
  Command(jobs_->Pause(Pause("a"), "t"));
  executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").wait_reason(), Job::HELD);
  Rounds(10);
  EXPECT_EQ(executor_.launches.size(), 1u) << "held";
}

// T6
TEST_F(ReconcilerTest, StoppedOnlyWithAVerifiedCheckpoint) {
  std::string name = StartRunning("a");
  Command(jobs_->Stop(Stop("a"), "t"));
  Checkpoint("a", 3);
  executor_.WorkerEnds(name, v1::Attempt::STOPPED_OK, 3);
  ASSERT_TRUE(Until("a", Job::STOPPED));
  EXPECT_NE(Get("a").latest_checkpoint(), "");
  name = StartRunning("b");
  Command(jobs_->Stop(Stop("b"), "t"));
  executor_.WorkerEnds(name, v1::Attempt::STOPPED_OK, 3);
  EXPECT_TRUE(Until("b", Job::CANCELLED));
}

TEST_F(ReconcilerTest, CrashIsRetriedFromTheLastVerifiedCheckpointUntilTheBudgetIsSpent) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1), Step(2), Step(3)});
  const std::string checkpoint = Checkpoint("a", 2);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").wait_reason(), Job::BACKOFF);
  EXPECT_TRUE(Get("a").has_not_before());
  EXPECT_EQ(Get("a").error().code(), "WORKER_CRASHED");
  EXPECT_EQ(executor_.launches.size(), 1u);
  const std::vector<v1::Event> events = recorder_.Events();
  EXPECT_TRUE(absl::StrContains(events.back().state_changed().reason(), "1 steps are lost"))
      << events.back().state_changed().reason();
  for (int failures = 1; failures <= 3; ++failures) {
    clock_.Advance(absl::Minutes(6));
    ASSERT_TRUE(Until("a", Job::STARTING));
    EXPECT_EQ(executor_.launches.back().resume_name(), checkpoint);
    executor_.WorkerCrashes(name);
    ASSERT_TRUE(Until("a", failures < 3 ? Job::QUEUED : Job::FAILED)) << failures;
  }
  EXPECT_EQ(Get("a").attempt(), 4) << "the first one had advanced the checkpoint";
}

TEST_F(ReconcilerTest, CheckpointThatNoEventToldOfIsAdoptedBeforeTheResumePointIsChosen) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  Round();
  const std::string untold = Checkpoint("a", 4, first, /*event=*/false);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), untold);
  ASSERT_EQ(CheckpointEvents(v1::CheckpointEvent::ADOPTED).size(), 1u);
  EXPECT_FALSE(CheckpointEvents(v1::CheckpointEvent::ADOPTED)[0].checkpoint().superseded());
}

TEST_F(ReconcilerTest, FolderThatDoesNotReadBackIsNotAdopted) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  Checkpoint("a", 4, first, /*event=*/false);
  std::ofstream(RunDir("a") + "/checkpoints/step-00000004-a1/model.safetensors")
      << "weights of step 5";
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), first);
}

TEST_F(ReconcilerTest, DamagedCheckpointIsPassedOverAndWhatLiesBeyondIsSuperseded) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  const std::string second = Checkpoint("a", 4, first);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), second);
  std::filesystem::remove(RunDir("a") + "/checkpoints/step-00000004-a1/model.safetensors");
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), first);
  EXPECT_EQ(CheckpointEvents(v1::CheckpointEvent::SUPERSEDED).size(), 1u);
}

// Sizes are right, only the worker that compared the hashes knows: the next attempt starts from an older one.
TEST_F(ReconcilerTest, CheckpointThatTheWorkerFoundDamagedIsNotResumedFromAgain) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  const std::string second = Checkpoint("a", 4, first);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  std::ofstream(RunDir("a") + "/checkpoints/step-00000004-a1/model.safetensors")
      << "weights of step 5";
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), second);
  executor_.WorkerFails(name, "CHECKPOINT_DAMAGED");
  ASSERT_TRUE(Until("a", Job::QUEUED));
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), first);
}

TEST_F(ReconcilerTest, JobWhoseCheckpointsAreAllLostFailsInsteadOfSilentlyBeginningAgain) {
  const std::string name = StartRunning("a");
  Checkpoint("a", 2);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  std::filesystem::remove_all(RunDir("a") + "/checkpoints");
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().code(), "CHECKPOINTS_LOST");
}

// T7
TEST_F(ReconcilerTest, SilentShimRaisesControlLostAndKeepsTheDevice) {
  const std::string name = StartRunning("a");
  executor_.Newest(name).kind = Kind::kUnknown;
  Rounds(10);
  EXPECT_TRUE(Active("a", "ControlLost"));
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  EXPECT_EQ(DeviceHolder(), name);
  EXPECT_TRUE(executor_.kills.empty());
  executor_.Newest(name).kind = Kind::kRunning;
  Rounds(10);
  EXPECT_FALSE(Active("a", "ControlLost"));
}

TEST_F(ReconcilerTest, OrphanIsKilledAfterTheGraceAndTheAttemptIsLost) {
  const std::string name = StartRunning("a", "limits: {stop_grace: 5s}");
  executor_.Newest(name).kind = Kind::kUnknown;
  Rounds(15);
  EXPECT_TRUE(executor_.kills.empty());
  Rounds(20);
  EXPECT_FALSE(executor_.kills.empty());
  executor_.Newest(name).kind = Kind::kGone;
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").error().code(), "ATTEMPT_LOST");
}

// T4, T8
TEST_F(ReconcilerTest, RestartedDaemonTakesUpTheLiveAttemptInsteadOfStartingAnother) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1)});
  Rounds(2);
  Crash();
  const std::string attempt_dir = AttemptDir(RunDir("a"), 1);
  auto writer = SpoolWriter::Open(attempt_dir, 1 << 20);
  ASSERT_OK((*writer)->Append(FromText<v1::Event>(Step(2)), false));
  ASSERT_OK((*writer)->Sync());
  Start();
  Rounds(3);
  EXPECT_EQ(executor_.launches.size(), 1u);
  EXPECT_EQ(DeviceHolder(), name);
  EXPECT_EQ(Get("a").progress().step(), 2);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), 0);
}

TEST_F(ReconcilerTest, AttemptThatEndedWhileTheDaemonWasDownIsClosedBeforeItServes) {
  const std::string name = StartRunning("a");
  Crash();
  WriteFolder(RunDir("a") + "/final", "a", 1, 1, "", "final");
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1);
  Start();
  EXPECT_EQ(Get("a").state(), Job::SUCCEEDED);
}

TEST_F(ReconcilerTest, RebootLosesTheAttemptButNotTheBudget) {
  const std::string name = StartRunning("a");
  const std::string checkpoint = Checkpoint("a", 2);
  Rounds(2);
  Crash();
  Observation& o = executor_.Newest(name);
  o.kind = Kind::kGone;
  o.info.emplace().mutable_shim()->set_boot_id("the boot before");
  Start();
  EXPECT_EQ(Get("a").state(), Job::QUEUED);
  EXPECT_EQ(Get("a").error().code(), "MACHINE_RESTARTED");
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), 0);
  EXPECT_EQ(Get("a").latest_checkpoint(), checkpoint);
}

TEST_F(ReconcilerTest, CrashBetweenRowAndSpawnIsResolvedByLaunchingTheSameAttempt) {
  executor_.launch_status = absl::UnavailableError("no spawn");
  Submit("a");
  ASSERT_TRUE(Until("a", Job::STARTING));
  Crash();
  executor_.launch_status = absl::OkStatus();
  Start();
  Rounds(2);
  EXPECT_EQ(Get("a").state(), Job::STARTING);
  EXPECT_EQ(Get("a").attempt(), 1);
  EXPECT_EQ(executor_.launches.back().attempt(), 1);
}

TEST_F(ReconcilerTest, AttemptThatCannotBeLaunchedWaitsWithoutBlame) {
  executor_.launch_status = absl::ResourceExhaustedError("no space");
  Submit("a");
  ASSERT_TRUE(Until("a", Job::STARTING));
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").wait_reason(), Job::BACKOFF);
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), 0);
}

TEST_F(ReconcilerTest, MissingProgramKeepsJobsInTheQueueAndSaysWhy) {
  missing_ = "worker";
  Submit("a");
  Rounds(2);
  EXPECT_EQ(Get("a").wait_reason(), Job::EXECUTOR_UNREACHABLE);
  ASSERT_TRUE(Active("a", "Degraded"));
  EXPECT_TRUE(absl::StrContains(Get("a").conditions(0).message(), "program worker is missing"));
  missing_ = "";
  Rounds(30);
  EXPECT_EQ(Get("a").state(), Job::STARTING);
  EXPECT_FALSE(Active("a", "Degraded"));
}

TEST_F(ReconcilerTest, JobForADeviceThatTheMachineLacksFails) {
  // As if submitted before the machine was known: the command itself would refuse it.
  AddJob(*store_, "a", RunDir("a"), "resources: {device: 'cuda:3'}");
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().code(), "DEVICE_NOT_FOUND");
  EXPECT_EQ(Get("a").error().cause(), v1::JobError::USER);
}

TEST_F(ReconcilerTest, OneJobADeviceInTheOrderOfThePriority) {
  const std::string first = StartRunning("a");
  Submit("b");
  Submit("c", "priority: 7");
  Rounds(5);
  EXPECT_EQ(executor_.launches.size(), 1u);
  Command(jobs_->Stop(Stop("a", "DISCARD"), "t"));
  executor_.WorkerEnds(first, v1::Attempt::DISCARDED);
  ASSERT_TRUE(Until("c", Job::STARTING));
  EXPECT_EQ(Get("b").state(), Job::QUEUED);
  EXPECT_EQ(Get("a").state(), Job::CANCELLED);
}

TEST_F(ReconcilerTest, ForceKillsAfterTwoSeconds) {
  StartRunning("a");
  Command(jobs_->Stop(Stop("a", "FORCE"), "t"));
  Rounds(5);
  EXPECT_EQ(executor_.signals.back().want, internal::DISCARD);
  Rounds(10);
  EXPECT_EQ(executor_.signals.back().want, internal::KILL);
}

TEST_F(ReconcilerTest, RunTimeLimitStopsGracefullyAndFailsWithItsCause) {
  const std::string name = StartRunning("a", "limits: {max_run_time: 60s}");
  clock_.Advance(absl::Seconds(61));
  ASSERT_TRUE(Until("a", Job::STOPPING));
  Rounds(2);
  EXPECT_EQ(executor_.signals.back().want, internal::STOP);
  Checkpoint("a", 5);
  executor_.WorkerEnds(name, v1::Attempt::STOPPED_OK, 5);
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().cause(), v1::JobError::LIMIT);
  EXPECT_NE(Get("a").latest_checkpoint(), "");
}

TEST_F(ReconcilerTest, StalledIsRaisedBySilenceAndClearedByAStep) {
  StartRunning("a");
  Spool("a", {Step(1)});
  Rounds(2);
  activity_->Start("jobs/a", clock_.Now());
  clock_.Advance(absl::Minutes(6));
  Rounds(10);
  EXPECT_TRUE(Active("a", "Stalled"));
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  Spool("a", {Step(2)});
  ingester_->PassOnce();
  EXPECT_FALSE(Active("a", "Stalled"));
}

TEST_F(ReconcilerTest, ProcessesOfOursWithoutARowAreEnded) {
  Crash();
  executor_.owned = {{.job = "jobs/stranger", .attempt = 4, .run_dir = RunDir("stranger")}};
  Start();
  ASSERT_EQ(executor_.signals.size(), 1u);
  EXPECT_EQ(executor_.signals[0].job, "jobs/stranger");
  EXPECT_EQ(executor_.signals[0].want, internal::KILL);
}

TEST_F(ReconcilerTest, RetentionKeepsTheLastOnesAndOnlyAfterANewerOneIsVerified) {
  StartRunning("a", "checkpoint: {keep_last: 2, every_steps: 1}");
  std::string parent;
  for (int step = 1; step <= 4; ++step) {
    parent = Checkpoint("a", step, parent);
    Rounds(2);
  }
  EXPECT_EQ(CheckpointEvents(v1::CheckpointEvent::DELETED).size(), 2u);
  EXPECT_FALSE(std::filesystem::exists(RunDir("a") + "/checkpoints/step-00000002-a1"));
  EXPECT_TRUE(std::filesystem::exists(RunDir("a") + "/checkpoints/step-00000003-a1"));
  EXPECT_TRUE(std::filesystem::exists(RunDir("a") + "/checkpoints/step-00000004-a1"));
}

TEST_F(ReconcilerTest, LowDiskIsACondition) {
  StartRunning("a");
  Checkpoint("a", 2);
  free_bytes_ = 150;  // below twice the checkpoint's 100 bytes
  Rounds(60);
  EXPECT_TRUE(Active("a", "DiskLow"));
  free_bytes_ = 250;
  Rounds(60);
  EXPECT_TRUE(Active("a", "DiskLow")) << "cleared only above three times";
  free_bytes_ = 350;
  Rounds(60);
  EXPECT_FALSE(Active("a", "DiskLow"));
}

TEST_F(ReconcilerTest, DeletedJobIsGoneAlsoWhenTheDaemonDiesHalfWay) {
  const std::string name = StartRunning("a");
  Command(jobs_->Stop(Stop("a", "DISCARD"), "t"));
  executor_.WorkerEnds(name, v1::Attempt::DISCARDED);
  ASSERT_TRUE(Until("a", Job::CANCELLED));
  // The row says `deleting`, nothing else has happened yet.
  JobRecord record = Load(*store_, "a");
  ASSERT_OK(store_->Change([&](Transaction& t) {
    record.job.set_deleting(true);
    return StoreJob(t.db(), &record);
  }));
  Crash();
  Start();
  disk_->WaitIdle();
  EXPECT_FALSE(std::filesystem::exists(RunDir("a")));
  absl::Status read = store_->Read([&](Connection& db) { return LoadJob(db, "a").status(); });
  EXPECT_TRUE(absl::IsNotFound(read));
  EXPECT_EQ(recorder_.Events().back().notice().code(), "JOB_DELETED");
}

}  // namespace
}  // namespace trainerd::server
