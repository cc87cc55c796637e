// SPDX-License-Identifier: Apache-2.0
// The reconciler with a real store, ingester, spools, checkpoint folders and disk worker; processes
// and time are fakes. Checks invariants T1 to T8 and T11 where they need more than a pure function.
#pragma once

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "proto/base/hash.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "proto/contract/run_dir/manifest.h"
#include "proto/contract/run_dir/spool_writer.h"
#include "server/commands/job_manager.h"
#include "server/reconcile/reconciler.h"
#include "server/store/rows/run_rows.h"
#include "tests/server/runs/fake_executor.h"
#include "tests/server/test_env.h"

namespace trainerd::server {

class ReconcilerTest : public ::testing::Test {
 protected:
  using Job = v1::Job;
  using Kind = Observation::Kind;

  ReconcilerTest() {
    std::filesystem::create_directories(dir_ / "model");
    std::ofstream(dir_ / "d.jsonl") << "{}\n";
    Start();
  }
  ~ReconcilerTest() override { Crash(); }

  // T3, in every test: a replay of the state events gives the stored rows.
  void TearDown() override {
    std::map<std::string, v1::StateChanged> last;
    for (const v1::Event& e : recorder_.Events()) {
      if (e.has_notice() && e.notice().code() == "JOB_DELETED") last.erase(e.job());
      if (!e.has_state_changed()) continue;
      EXPECT_EQ(e.state_changed().from_state(), last[e.job()].to_state()) << e.ShortDebugString();
      EXPECT_FALSE(IsTerminal(last[e.job()].to_state())) << "T1: " << e.ShortDebugString();
      last[e.job()] = e.state_changed();
    }
    for (const auto& [name, change] : last) {
      const Job job = Get(JobId(name));
      EXPECT_EQ(change.to_state(), job.state()) << name;
      EXPECT_EQ(change.desired_state(), job.desired_state()) << name;
      EXPECT_EQ(change.wait_reason(), job.wait_reason()) << name;
      EXPECT_EQ(change.attempt(), job.attempt()) << name;
      EXPECT_EQ(change.error().code(), job.error().code()) << name;
    }
  }

  // Starts a daemon on the state of an earlier one.
  void Start() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = recorder_.Listener(),
                              .clock = SystemClock(),
                              .steady_clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
    devices_ = std::make_unique<DeviceTable>();
    v1::Device cpu;
    cpu.set_name("cpu");
    devices_->Set({cpu});
    activity_ = std::make_unique<ActivityTable>();
    disk_ = std::make_unique<DiskWorker>();
    housekeeping_ = std::make_unique<Housekeeping>(
        Housekeeping::Options{
            .runs_dir = dir_ / "runs", .clock = SystemClock(), .free_bytes = FreeBytesFunction()},
        *store_, *disk_);
    auto watcher = SpoolWatcher::Create();
    ASSERT_OK(watcher.status());
    ingester_ =
        std::make_unique<Ingester>(*store_, *std::move(watcher), *activity_, Ingester::Hooks{});
    reconciler_ = std::make_unique<Reconciler>(
        Reconciler::Options{.launch = {.worker_path = "worker", .cpu_threads = 2},
                            .shim_path = "shim",
                            .runs_dir = dir_ / "runs",
                            .rules = rules_,
                            .clock = clock_.Function(),
                            .boot_id = "this boot",
                            .is_executable =
                                [this](const std::string& p) {
                                  if (on_queue_step_) on_queue_step_();
                                  return p != missing_;
                                },
                            .query_devices = [this] { ++device_queries_; },
                            .free_bytes = FreeBytesFunction(),
                            .run_call = run_call_},
        Reconciler::Parts{*store_, executor_, *ingester_, *activity_, *devices_, *disk_,
                          *housekeeping_, drain_});
    jobs_ = std::make_unique<JobManager>(
        JobManager::Options{.runs_dir = dir_ / "runs",
                            .clock = SystemClock(),
                            .remove = [this](const std::string& id) { housekeeping_->Delete(id); }},
        *store_, *devices_);
    ASSERT_OK(reconciler_->Recover());
  }
  // The daemon dies.
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
  // The time that users see: it can be changed.
  std::function<absl::Time()> SystemClock() {
    return [this] { return clock_.Now() + system_clock_shift_.load(); };
  }
  std::function<absl::StatusOr<int64_t>(const std::string&)> FreeBytesFunction() {
    return [this](const std::string&) -> absl::StatusOr<int64_t> {
      if (free_bytes_ < 0) return absl::UnavailableError("not known");
      return free_bytes_;
    };
  }
  // Waits until the disk worker has run every task posted so far.
  void WaitForDisk() {
    absl::Notification done;
    disk_->Post([&] { done.Notify(); });
    done.WaitForNotification();
  }
  void Round() {
    ingester_->PassOnce();
    WaitForDisk();
    reconciler_->Step();
    WaitForDisk();
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

  // Writes events into the spool of the newest attempt, as its worker does.
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
  // A folder with a valid manifest.
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
    manifest.tokens = 10 * step;
    std::ofstream(path + "/MANIFEST.json") << ManifestToJson(manifest);
  }
  // Writes a checkpoint folder, and its event if `event`. Returns its resource name.
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
  std::string Message(const std::string& id, const std::string& condition) {
    const Job job = Get(id);
    for (const Job::Condition& c : job.conditions()) {
      if (c.type() == condition && c.active()) return c.message();
    }
    return "";
  }
  int Notices(const std::string& code) {
    int count = 0;
    for (const v1::Event& e : recorder_.Events())
      count += e.has_notice() && e.notice().code() == code;
    return count;
  }
  // The newest change's reason.
  std::string Reason() {
    std::string reason;
    for (const v1::Event& e : recorder_.Events()) {
      if (e.has_state_changed()) reason = e.state_changed().reason();
    }
    return reason;
  }
  void Sql(const std::string& sql) {
    ASSERT_OK(store_->Change([&](Transaction& t) { return t.db().Execute(sql); }));
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
  std::atomic<absl::Duration> system_clock_shift_{absl::ZeroDuration()};
  EventRecorder recorder_;
  FakeExecutor executor_;
  // In place, so that a round sees what it requested.
  AttemptProbe::RunCall run_call_ = [](std::function<void()> call) { call(); };
  int device_queries_ = 0;
  std::string missing_;
  // Called in each round, before a job gets a device.
  std::function<void()> on_queue_step_;
  DaemonDrain drain_;
  QueueRules rules_;
  std::atomic<int64_t> free_bytes_ = -1;
  std::unique_ptr<Store> store_;
  std::unique_ptr<DeviceTable> devices_;
  std::unique_ptr<ActivityTable> activity_;
  std::unique_ptr<DiskWorker> disk_;
  std::unique_ptr<Housekeeping> housekeeping_;
  std::unique_ptr<Ingester> ingester_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<JobManager> jobs_;
};

}  // namespace trainerd::server
