// SPDX-License-Identifier: Apache-2.0
// fake_worker: what trainerd-worker is towards shim and daemon, without LibTorch. It takes the same
// commands, writes the same files and events, and resumes exactly; the "training" is
// tests/fakes/fake_model. Labels of the job drive it:
//   fake.steps (200)  fake.step_ms (5)  fake.load_ms (0)  fake.checkpoint_bytes (65536)
//   fake.checkpoint_ms (0: time between files and rename) fake.final_ms (0)  fake.log_bytes (0:
//   extra output a step) fake.crash_at STEP: SIGKILL to itself after that step, in the first
//   fake.crash_attempts (1) attempts; with fake.exit CODE it exits with the code fake.fail_at STEP:
//   ends with a JobError (retryable if fake.fail_retryable is "1"), in the first
//   fake.crash_attempts attempts fake.hang_at STEP: stops stepping and obeying, ignores SIGTERM
//   fake.rise_at STEP: from that step on losses are 3 nats higher
//   fake.evals STEP:LOSS,…: evaluates at these steps, with these validation losses
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/plan/disk_use.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "proto/contract/run_dir/framing.h"
#include "proto/contract/run_dir/spool_writer.h"
#include "tests/fakes/fake_model.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::fakes {
namespace {

using internal::RequestedAction;
using internal::WorkerExitRecord;

// The most severe requested action. The end of the control socket and SIGTERM request a checkpoint
// and an exit.
std::atomic<int> g_action{internal::REQUESTED_ACTION_UNSPECIFIED};
std::atomic<bool> g_leave{false};
std::atomic<int> g_checkpoint_requests{0};

void OnTerm(int) { g_leave = true; }

void ReadCommands(int fd) {
  while (true) {
    absl::StatusOr<std::optional<std::string>> frame = ReadSocketFrame(fd, -1);
    if (!frame.ok() || !frame->has_value()) break;
    internal::WorkerCommand command;
    if (!command.ParseFromString(**frame)) continue;
    if (command.action() == internal::CHECKPOINT) {
      ++g_checkpoint_requests;
    } else if (command.action() > g_action) {
      g_action = command.action();
    }
  }
  g_leave = true;
}

google::protobuf::Timestamp Now() {
  const int64_t nanos = absl::ToUnixNanos(absl::Now());
  google::protobuf::Timestamp time;
  time.set_seconds(nanos / 1000000000);
  time.set_nanos(static_cast<int32_t>(nanos % 1000000000));
  return time;
}

class FakeWorker {
 public:
  FakeWorker(internal::AttemptSpec spec, std::unique_ptr<SpoolWriter> spool)
      : spec_(std::move(spec)),
        spool_(std::move(spool)),
        steps_(Number("fake.steps", spec_.config().config().train().has_max_steps()
                                        ? spec_.config().config().train().max_steps()
                                        : 200)),
        model_(static_cast<uint64_t>(spec_.config().config().train().seed()),
               Number("fake.checkpoint_bytes", 65536)) {}

  WorkerExitRecord Run();
  absl::Status Sync() { return spool_->Sync(); }

 private:
  int64_t Number(const std::string& label, int64_t otherwise) const {
    const auto& labels = spec_.config().config().labels();
    const auto found = labels.find(label);
    int64_t value = 0;
    if (found == labels.end() || !absl::SimpleAtoi(found->second, &value)) return otherwise;
    return value;
  }
  bool InFirstAttempts() const { return spec_.attempt() <= Number("fake.crash_attempts", 1); }

  void Emit(v1::Event event, bool droppable = false);
  void Stage(const std::string& stage, bool finished);
  void EmitStep(double loss);
  // Evaluates if the labels request it at this step. Whether that calls for a checkpoint.
  bool Evaluate();
  absl::Status Prepare();
  // As BuildOptimizer of the engine.
  absl::Status CheckFirstCheckpoint();
  absl::Status Checkpoint();
  absl::Status SaveFinal();
  // Crashes, hangs or fails here if the labels say so.
  absl::Status Misbehave();
  // Waits here if the labels request it.
  void Hold();
  // Ends the attempt if that is requested at this step's end.
  absl::StatusOr<bool> Obey();
  absl::Status Train();

  const internal::AttemptSpec spec_;
  const std::unique_ptr<SpoolWriter> spool_;
  const int64_t steps_;
  FakeModel model_;
  WorkerExitRecord record_;
  std::string parent_;
  int64_t checkpointed_step_ = 0;
  std::optional<double> best_value_;
};

void FakeWorker::Emit(v1::Event event, bool droppable) {
  event.set_job(spec_.job());
  event.set_attempt(spec_.attempt());
  *event.mutable_time() = Now();
  if (absl::Status status = spool_->Append(event, droppable); !status.ok()) {
    std::printf("spool: %s\n", std::string(status.message()).c_str());
  }
}

void FakeWorker::Stage(const std::string& stage, bool finished) {
  v1::Event event;
  event.mutable_stage()->set_stage(stage);
  event.mutable_stage()->set_finished(finished);
  if (finished) event.mutable_stage()->set_seconds(0.001);
  Emit(event);
}

absl::Status FakeWorker::CheckFirstCheckpoint() {
  if (!spec_.resume_path().empty()) return absl::OkStatus();
  const int64_t needed = SpaceForCheckpoint(Number("fake.checkpoint_bytes", 65536));
  ASSIGN_OR_RETURN(const int64_t free, FreeBytes(spec_.run_dir()));
  if (free >= needed) return absl::OkStatus();
  record_.set_needed_bytes(needed);
  return absl::ResourceExhaustedError(
      absl::StrCat("the first checkpoint needs ", needed, " B, ", free, " B are free"));
}

absl::Status FakeWorker::Prepare() {
  for (const char* stage : {"CheckRunIdentity", "OpenModel", "PrepareData", "CheckMasking",
                            "LoadWeights", "BuildOptimizer", "Restore"}) {
    Stage(stage, false);
    v1::Event event;
    if (stage == std::string_view("LoadWeights")) {
      const absl::Time until = absl::Now() + absl::Milliseconds(Number("fake.load_ms", 0));
      while (absl::Now() < until && g_action == internal::REQUESTED_ACTION_UNSPECIFIED &&
             !g_leave) {
        absl::SleepFor(absl::Milliseconds(2));
      }
    }
    if (stage == std::string_view("BuildOptimizer")) RETURN_IF_ERROR(CheckFirstCheckpoint());
    if (stage == std::string_view("Restore")) {
      const std::string& from =
          spec_.resume_path().empty() ? spec_.init_path() : spec_.resume_path();
      if (!from.empty()) RETURN_IF_ERROR(model_.Load(from));
      parent_ = spec_.resume_name();
      if (!spec_.resume_path().empty()) checkpointed_step_ = model_.step();
    }
    Stage(stage, true);
    if (stage == std::string_view("PrepareData")) {
      event.mutable_data_report()->set_examples(64);
      event.mutable_data_report()->set_trained_examples(64);
      event.mutable_data_report()->set_total_steps(steps_);
      Emit(event);
    }
    if (stage == std::string_view("CheckMasking")) {
      event.mutable_masking_report()->set_trained_fraction(0.5);
      event.mutable_masking_report()->set_sampled_rows(64);
      Emit(event);
    }
  }
  return absl::OkStatus();
}

void FakeWorker::EmitStep(double loss) {
  v1::Event event;
  v1::Metrics& metrics = *event.mutable_metrics();
  metrics.set_step(model_.step());
  metrics.set_total_steps(steps_);
  metrics.set_epoch(static_cast<double>(model_.step()) / static_cast<double>(steps_));
  const int64_t rise_at = Number("fake.rise_at", 0);
  if (rise_at > 0 && model_.step() >= rise_at) loss += 3;
  metrics.set_loss(loss);
  metrics.set_grad_norm(loss / 2);
  metrics.set_learning_rate(1e-4);
  metrics.set_tokens(64);
  metrics.set_target_tokens(32);
  Emit(event, /*droppable=*/true);
  if (model_.step() % 100 == 0) std::printf("step %ld\n", static_cast<long>(model_.step()));
  const int64_t extra = Number("fake.log_bytes", 0);
  if (extra > 0) std::printf("%s\n", std::string(static_cast<size_t>(extra), 'x').c_str());
  std::fflush(stdout);
}

bool FakeWorker::Evaluate() {
  const auto& labels = spec_.config().config().labels();
  const auto found = labels.find("fake.evals");
  if (found == labels.end()) return false;
  for (absl::string_view entry : absl::StrSplit(found->second, ',')) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(entry, ':');
    double loss = 0;
    if (parts.first != absl::StrCat(model_.step()) || !absl::SimpleAtod(parts.second, &loss))
      continue;
    v1::Event event;
    event.mutable_eval()->set_step(model_.step());
    event.mutable_eval()->set_set("validation");
    event.mutable_eval()->set_loss(loss);
    Emit(event);
    const v1::EvaluationConfig& config = spec_.config().config().evaluation();
    if (!config.has_best() || config.best().metric() != "eval.validation.loss") return false;
    const bool largest = config.best().mode() == v1::BestConfig::MODE_MAX;
    const bool better = !best_value_ || (largest ? loss > *best_value_ : loss < *best_value_);
    if (better) best_value_ = loss;
    return better;
  }
  return false;
}

absl::Status FakeWorker::Checkpoint() {
  if (model_.step() == 0 || model_.step() == checkpointed_step_) return absl::OkStatus();
  char id[64];
  std::snprintf(id, sizeof(id), "step-%08ld-a%d", static_cast<long>(model_.step()),
                spec_.attempt());
  const std::string folder = spec_.run_dir() + "/checkpoints/" + id;
  // Until the rename nothing refers to it, so that steps are durable before the checkpoint that
  // holds them.
  RETURN_IF_ERROR(spool_->Sync());
  PublishOptions options{.run_dir = spec_.run_dir(), .folder = folder};
  options.manifest.job = spec_.job();
  options.manifest.attempt = spec_.attempt();
  options.manifest.step = model_.step();
  options.manifest.parent = parent_;
  options.manifest.kind = "checkpoint";
  options.manifest.has_optimizer = true;
  options.before_rename = [this] {
    absl::SleepFor(absl::Milliseconds(Number("fake.checkpoint_ms", 0)));
  };
  ASSIGN_OR_RETURN(const Manifest manifest, PublishFolder(model_, options));
  checkpointed_step_ = model_.step();
  v1::Event event;
  event.mutable_checkpoint()->set_kind(v1::CheckpointEvent::PUBLISHED);
  v1::Checkpoint& checkpoint = *event.mutable_checkpoint()->mutable_checkpoint();
  checkpoint.set_name(absl::StrCat(spec_.job(), "/checkpoints/", id));
  checkpoint.set_job(spec_.job());
  checkpoint.set_step(model_.step());
  checkpoint.set_attempt(spec_.attempt());
  *checkpoint.mutable_create_time() = Now();
  checkpoint.set_size_bytes(manifest.total_bytes());
  ASSIGN_OR_RETURN(*checkpoint.mutable_manifest_digest(), ManifestDigest(folder));
  checkpoint.set_verified(true);
  checkpoint.set_has_optimizer(true);
  checkpoint.set_path(folder);
  checkpoint.set_parent(parent_);
  parent_ = checkpoint.name();
  *record_.mutable_last_checkpoint() = checkpoint;
  Emit(event);
  return absl::OkStatus();
}

absl::Status FakeWorker::SaveFinal() {
  Stage("SaveFinal", false);
  PublishOptions options{
      .run_dir = spec_.run_dir(), .folder = spec_.run_dir() + "/final", .with_state = false};
  options.manifest.job = spec_.job();
  options.manifest.attempt = spec_.attempt();
  options.manifest.step = model_.step();
  options.manifest.kind = "final";
  options.before_rename = [this] {
    absl::SleepFor(absl::Milliseconds(Number("fake.final_ms", 0)));
  };
  RETURN_IF_ERROR(PublishFolder(model_, options).status());
  v1::Event event;
  v1::RunSummary& summary = *event.mutable_run_summary();
  const std::string& output = spec_.config().config().output().path();
  if (!output.empty()) {
    const std::string temporary = output + ".tmp-" + spec_.job().substr(spec_.job().find('/') + 1);
    std::filesystem::remove_all(temporary);
    std::filesystem::copy(options.folder, temporary);
    std::filesystem::remove_all(output);
    std::filesystem::rename(temporary, output);
    summary.set_output_path(output);
  }
  summary.set_steps(model_.step());
  summary.set_final_path(options.folder);
  Stage("SaveFinal", true);
  Emit(event);
  return absl::OkStatus();
}

absl::Status FakeWorker::Misbehave() {
  if (model_.step() == Number("fake.hang_at", 0)) {
    signal(SIGTERM, SIG_IGN);
    while (true) pause();
  }
  if (!InFirstAttempts()) return absl::OkStatus();
  if (model_.step() == Number("fake.crash_at", 0)) {
    const int64_t code = Number("fake.exit", -1);
    std::printf("crashing at step %ld as asked\n", static_cast<long>(model_.step()));
    std::fflush(stdout);
    if (code >= 0) _exit(static_cast<int>(code));
    kill(getpid(), SIGKILL);
  }
  if (model_.step() == Number("fake.fail_at", 0)) {
    return absl::InternalError("failing at this step as asked");
  }
  return absl::OkStatus();
}

void FakeWorker::Hold() {
  const auto& labels = spec_.config().config().labels();
  const auto found = labels.find("fake.hold_at");
  if (found == labels.end()) return;
  const std::string step = absl::StrCat(model_.step());
  const std::vector<std::string> steps = absl::StrSplit(found->second, ',');
  if (std::find(steps.begin(), steps.end(), step) == steps.end()) return;
  const std::string release = spec_.run_dir() + "/release-" + step;
  while (!std::filesystem::exists(release) && g_action == internal::REQUESTED_ACTION_UNSPECIFIED &&
         !g_leave && g_checkpoint_requests == 0) {
    absl::SleepFor(absl::Milliseconds(2));
  }
}

absl::StatusOr<bool> FakeWorker::Obey() {
  const int action = g_action;
  if (action == internal::DISCARD) {
    record_.set_end(v1::Attempt::DISCARDED);
    return true;
  }
  const bool leave = action == internal::PAUSE || action == internal::STOP || g_leave;
  if (!leave) return false;
  RETURN_IF_ERROR(Checkpoint());
  record_.set_end(action == internal::STOP    ? v1::Attempt::STOPPED_OK
                  : action == internal::PAUSE ? v1::Attempt::PAUSED_OK
                                              : v1::Attempt::PREEMPTED_OK);
  return true;
}

absl::Status FakeWorker::Train() {
  Stage("Train", false);
  if (spec_.has_best_value()) best_value_ = spec_.best_value();
  const absl::Duration pace = absl::Milliseconds(Number("fake.step_ms", 5));
  const int64_t every = spec_.config().config().checkpoint().every_steps();
  while (model_.step() < steps_) {
    ASSIGN_OR_RETURN(const bool ended, Obey());
    if (ended) return absl::OkStatus();
    absl::SleepFor(pace);
    const double loss = model_.Step();
    if (record_.first_step() == 0) record_.set_first_step(model_.step());
    record_.set_last_step(model_.step());
    EmitStep(loss);
    RETURN_IF_ERROR(Misbehave());
    const bool is_best = Evaluate();
    if (is_best || (every > 0 && model_.step() % every == 0)) RETURN_IF_ERROR(Checkpoint());
    Hold();
    if (g_checkpoint_requests.exchange(0) > 0) RETURN_IF_ERROR(Checkpoint());
  }
  RETURN_IF_ERROR(Checkpoint());
  Stage("Train", true);
  RETURN_IF_ERROR(SaveFinal());
  record_.set_end(v1::Attempt::COMPLETED);
  return absl::OkStatus();
}

WorkerExitRecord FakeWorker::Run() {
  absl::Status status = Prepare();
  if (status.ok()) status = Train();
  if (!status.ok()) {
    record_.set_end(v1::Attempt::FAILED);
    v1::JobError& error = *record_.mutable_error();
    const bool storage = absl::IsResourceExhausted(status);
    error.set_code(storage ? "DISK_FULL" : "FAKE_FAILURE");
    error.set_message(std::string(status.message()));
    error.set_cause(storage ? v1::JobError::STORAGE : v1::JobError::INTERNAL);
    error.set_retryable(storage || Number("fake.fail_retryable", 0) != 0);
    error.set_attempt(spec_.attempt());
  }
  record_.set_metrics_dropped(spool_->dropped());
  *record_.mutable_end_time() = Now();
  return record_;
}

int RunAttempt(const std::string& attempt_dir, int control_fd) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTERM, OnTerm);
  absl::StatusOr<internal::AttemptSpec> spec = ReadAttemptSpec(attempt_dir);
  if (!spec.ok()) {
    std::fprintf(stderr, "%s\n", std::string(spec.status().message()).c_str());
    return 2;
  }
  absl::StatusOr<std::unique_ptr<SpoolWriter>> spool =
      SpoolWriter::Open(attempt_dir, spec->spool_segment_bytes());
  if (!spool.ok()) {
    std::fprintf(stderr, "%s\n", std::string(spool.status().message()).c_str());
    return 1;
  }
  std::printf("fake worker: attempt %d of %s\n", spec->attempt(), spec->job().c_str());
  std::thread(ReadCommands, control_fd).detach();
  FakeWorker worker(*std::move(spec), *std::move(spool));
  const WorkerExitRecord record = worker.Run();
  absl::Status status = worker.Sync();
  if (absl::Status written = WriteWorkerExitRecord(attempt_dir, record); !written.ok()) {
    status = written;
  }
  if (!status.ok()) std::printf("%s\n", std::string(status.message()).c_str());
  std::fflush(stdout);
  // The command reader may sit in a read: no orderly end of threads.
  _exit(record.end() == v1::Attempt::FAILED ? 1 : 0);
}

}  // namespace
}  // namespace trainerd::fakes

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "devices") {
    std::puts(
        "{\"devices\": [{\"name\": \"cpu\", \"model\": \"fake\", \"memory_bytes\": "
        "\"1073741824\"}]}");
    return 0;
  }
  int control_fd = -1;
  if (command == "attempt" && argc == 6 && std::string_view(argv[2]) == "--attempt-dir" &&
      std::string_view(argv[4]) == "--control-fd" && absl::SimpleAtoi(argv[5], &control_fd)) {
    return trainerd::fakes::RunAttempt(argv[3], control_fd);
  }
  std::fputs("Usage: fake_worker devices | attempt --attempt-dir DIR --control-fd N\n", stderr);
  return 2;
}
