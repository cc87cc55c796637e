// SPDX-License-Identifier: Apache-2.0
// The control plane shuts down under load: a spool grows, commands come in and watchers read. Also
// run with ThreadSanitizer (tests/tsan.sh), which reports a part that reaches a destroyed one.
#include "server/control_plane.h"

#include <atomic>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "proto/contract/run_dir/spool_writer.h"
#include "tests/server/runs/fake_executor.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

// The reconciler calls an executor from several threads.
class LockedExecutor : public FakeExecutor {
 public:
  absl::Status Launch(const internal::AttemptSpec& spec) override {
    absl::MutexLock lock(&mutex_);
    return FakeExecutor::Launch(spec);
  }
  Observation Observe(const AttemptRef& attempt) override {
    absl::MutexLock lock(&mutex_);
    return FakeExecutor::Observe(attempt);
  }
  absl::Status Signal(const AttemptRef& attempt, internal::RequestedAction action,
                      absl::Duration grace) override {
    absl::MutexLock lock(&mutex_);
    return FakeExecutor::Signal(attempt, action, grace);
  }

 private:
  absl::Mutex mutex_;
};

class CountingSink : public WatchSink {
 public:
  explicit CountingSink(FanOut& fan_out) : fan_out_(fan_out) {}
  void Write(Bytes message) override {
    v1::StreamStatusResponse response;
    EXPECT_TRUE(response.ParseFromString(*message));
    events_ += response.events_size();
    fan_out_.WriteDone(watch_id, true);
  }
  void Finish(const absl::Status&) override { finished_.Notify(); }
  void Abandon() override {}

  std::atomic<int> events_{0};
  absl::Notification finished_;

 private:
  FanOut& fan_out_;
};

class ControlPlaneTest : public ::testing::Test {
 protected:
  static constexpr int kWatchers = 10;

  ControlPlaneTest() {
    std::filesystem::create_directories(dir_ / "state/runs");
    std::filesystem::create_directories(dir_ / "model");
    std::ofstream(dir_ / "d.jsonl") << "{}\n";
    // The daemon queries it for the devices; the fake executor starts nothing.
    dir_.Write("worker", "#!/bin/sh\necho '{\"devices\":[{\"name\":\"cpu\"}]}'\n", 0700);
  }
  void Start() {
    std::vector<ConfigViolation> violations;
    v1::ServerConfig config;
    config.set_state_dir(dir_ / "state");
    config.set_worker_path(dir_ / "worker");
    // Only its presence is checked.
    config.set_shim_path("/bin/true");
    auto plane = ControlPlane::Open(ResolveServerConfig(config, &violations),
                                    std::make_unique<LockedExecutor>());
    ASSERT_OK(plane.status());
    plane_ = *std::move(plane);
    ASSERT_OK(plane_->Start());
    plane_->StartJobs();
  }
  std::string Submit(const std::string& id) {
    v1::SubmitJobRequest request;
    request.set_job_id(id);
    request.mutable_config()->mutable_model()->set_path(dir_ / "model");
    request.mutable_config()->mutable_data()->add_train()->set_path(dir_ / "d.jsonl");
    EXPECT_OK(plane_->jobs().Submit(request, "unix:").status());
    return "jobs/" + id;
  }
  bool WaitForState(const std::string& id, v1::Job::State state) {
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    while (Load(plane_->store(), id).job.state() != state) {
      if (absl::Now() > deadline) return false;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return true;
  }
  // As a worker: writes events into the spool until `done_`. The exit record makes the ingester
  // poke the reconciler after each batch.
  void WriteSpool(const std::string& attempt_dir) {
    // STARTING is durable before the attempt's directory exists.
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    while (!std::filesystem::exists(attempt_dir) && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    auto writer = SpoolWriter::Open(attempt_dir, 1 << 20);
    ASSERT_OK(writer.status());
    std::ofstream(attempt_dir + "/worker_exit.rec") << "";
    ASSERT_OK((*writer)->Append(FromText<v1::Event>("stage {stage: 'Train'}"), false));
    for (int step = 1; !done_; ++step) {
      v1::Event event;
      event.mutable_metrics()->set_step(step);
      ASSERT_OK((*writer)->Append(event, /*droppable=*/false));
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  // As clients: submits and stops jobs until `clients_done_`.
  void SendCommands() {
    for (int i = 0; !clients_done_; ++i) {
      v1::StopRequest stop;
      stop.set_name(Submit(absl::StrCat("queued-", i)));
      EXPECT_OK(plane_->jobs().Stop(stop, "unix:").status());
    }
  }

  TempDir dir_;
  std::unique_ptr<ControlPlane> plane_;
  std::atomic<bool> done_{false}, clients_done_{false};
};

TEST_F(ControlPlaneTest, ShutsDownUnderLoad) {
  Start();
  Submit("a");
  ASSERT_TRUE(WaitForState("a", v1::Job::STARTING));
  std::thread worker([&] { WriteSpool(AttemptDir(dir_ / "state/runs/a", 1)); });
  EXPECT_TRUE(WaitForState("a", v1::Job::RUNNING));
  std::thread client([&] { SendCommands(); });
  std::vector<std::unique_ptr<CountingSink>> sinks;
  for (int i = 0; i < kWatchers; ++i) {
    sinks.push_back(std::make_unique<CountingSink>(plane_->fan_out()));
    plane_->fan_out().Add({}, sinks.back().get());
  }
  for (auto& sink : sinks) {
    while (sink->events_ < 100) absl::SleepFor(absl::Milliseconds(1));
  }

  // In the order of the daemon: clients and watchers end after the threads, before the parts.
  plane_->Stop();
  clients_done_ = true;
  client.join();
  plane_->fan_out().Drain(absl::UnavailableError("shutting down"));
  for (auto& sink : sinks) sink->finished_.WaitForNotification();
  plane_.reset();
  done_ = true;
  worker.join();
}

// What an earlier control plane left does not prevent the next one from starting.
TEST_F(ControlPlaneTest, ReopensItsDatabase) {
  Start();
  Submit("a");
  plane_.reset();
  Start();
  EXPECT_EQ(Load(plane_->store(), "a").job.name(), "jobs/a");
}

}  // namespace
}  // namespace trainerd::server
