// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/train_command.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/checkpoint/run_folder.h"
#include "engine/cli/control_listener.h"
#include "engine/cli/event_sinks.h"
#include "engine/platform/device.h"
#include "engine/run_job.h"
#include "engine/train/kept_model.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job_file/job_file.h"
#include "proto/contract/job_file/message_to_yaml.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "spdlog/spdlog.h"

namespace trainerd::engine {
namespace {

constexpr int kExitDone = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitStopped = 3;

// Without a daemon nobody else keeps the number of checkpoints down.
class RetentionSink : public EventSink {
 public:
  RetentionSink(std::string run_dir, int32_t keep_last)
      : run_dir_(std::move(run_dir)), keep_last_(keep_last) {}
  void Emit(v1::Event event) override {
    if (event.checkpoint().kind() != v1::CheckpointEvent::PUBLISHED) return;
    if (const absl::Status status = PruneCheckpoints(run_dir_, keep_last_); !status.ok()) {
      spdlog::warn("old checkpoints stay: {}", std::string(status.message()));
    }
  }

 private:
  const std::string run_dir_;
  const int32_t keep_last_;
};

// run.lock of the run directory, held until the process ends.
absl::Status LockRunDir(const std::string& run_dir) {
  const std::string path = absl::StrCat(run_dir, "/run.lock");
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("open ", path));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  const int error = errno;
  ::close(fd);
  if (error != EWOULDBLOCK) return ErrnoStatus(error, absl::StrCat("lock ", path));
  return absl::FailedPreconditionError(absl::StrCat("another trainerd-worker runs in ", run_dir,
                                                    "; stop it first, or use another --run-dir"));
}

// data.now of the job that used this run directory before: {date} and strftime_now keep the time
// at which the job began. "" if there was none.
std::string FirstNow(const std::string& run_dir) {
  const absl::StatusOr<std::string> yaml = ReadFile(absl::StrCat(run_dir, "/job_config.yaml"));
  v1::JobConfig before;
  if (!yaml.ok() || !YamlToMessage(*yaml, &before).violations.empty()) return "";
  return before.data().now();
}

absl::StatusOr<v1::ResolvedJobConfig> ReadJob(const TrainOptions& options) {
  ASSIGN_OR_RETURN(v1::ResolvedJobConfig job,
                   ReadResolvedJob({.path = options.job_path,
                                    .sets = options.sets,
                                    .home_dir = options.home_dir,
                                    .default_now = FirstNow(options.run_dir)}));
  const std::string& init = job.config().init_from().checkpoint();
  if (!init.empty() && !absl::StartsWith(init, "/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("init_from.checkpoint ", init,
                     " names a checkpoint of a daemon; without a daemon set it to a path (./… or "
                     "/…)"));
  }
  return job;
}

absl::StatusOr<std::string> ChooseDevice(const std::string& stop_mode) {
  if (stop_mode != "auto") return stop_mode;
  for (const DeviceDescription& device : ListDevices()) {
    if (device.name != "cpu" && device.unavailable.empty()) return device.name;
  }
  return std::string("cpu");
}

// The attempt that comes next in this run directory, as a daemon would describe it.
absl::StatusOr<internal::AttemptSpec> MakeSpec(const TrainOptions& options,
                                               const v1::ResolvedJobConfig& config) {
  const std::string& run_dir = options.run_dir;
  internal::AttemptSpec spec;
  spec.set_job(absl::StrCat("jobs/", ToHex(Xxh3(run_dir)).substr(0, 12)));
  spec.set_run_dir(run_dir);
  *spec.mutable_config() = config;
  ASSIGN_OR_RETURN(const std::string device, ChooseDevice(config.config().resources().device()));
  spec.add_devices(device);
  ASSIGN_OR_RETURN(const int last, ReadPublisher(run_dir));
  spec.set_attempt(last + 1);
  std::vector<std::string> skipped;
  ASSIGN_OR_RETURN(const std::optional<FoundCheckpoint> resume, FindResumePoint(run_dir, &skipped));
  for (const std::string& line : skipped) spdlog::warn("not used: {}", line);
  if (resume.has_value()) {
    spec.set_resume_path(resume->path);
    spec.set_resume_name(absl::StrCat(spec.job(), "/checkpoints/", resume->id));
  } else {
    spec.set_init_path(config.config().init_from().checkpoint());
    // The command begins the job again, so it reads the model again.
    RETURN_IF_ERROR(RemoveAll(KeptModelFolder(run_dir)));
  }
  const std::vector<std::string> given(config.given().begin(), config.given().end());
  RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(run_dir, "/job_config.yaml"),
                                  MessageToYaml(config.config(), &given)));
  RETURN_IF_ERROR(WritePublisher(run_dir, spec.attempt()));
  return spec;
}

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "trainerd-worker: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

// A second Ctrl-C leaves without a checkpoint.
std::string StopText(const internal::WorkerExitRecord& record) {
  if (!record.has_last_checkpoint()) return "stopped before there was a checkpoint";
  const int64_t step = record.last_checkpoint().step();
  const int64_t lost = record.last_step() - step;
  if (lost <= 0) {
    return absl::StrCat("stopped at step ", step, "; the same command continues from there");
  }
  return absl::StrCat("stopped at step ", record.last_step(), " without a checkpoint; the same ",
                      "command continues from that of step ", step, " and does ",
                      Counted(lost, "step"), " again");
}

int Finish(const internal::WorkerExitRecord& record) {
  switch (record.end()) {
    case v1::Attempt::COMPLETED:
      return kExitDone;
    case v1::Attempt::FAILED:
      std::fprintf(stderr, "trainerd-worker: %s: %s\n", record.error().code().c_str(),
                   record.error().message().c_str());
      return kExitFailed;
    default:
      std::fprintf(stderr, "%s\n", StopText(record).c_str());
      return kExitStopped;
  }
}

int Run(const internal::AttemptSpec& spec, const TrainOptions& options) {
  TextSink text(options.events_path == "-" ? stderr : stdout, TextSink::Samples::kShow);
  RetentionSink retention(spec.run_dir(), spec.config().config().checkpoint().keep_last());
  std::vector<EventSink*> sinks{&text, &retention};
  std::unique_ptr<JsonLineSink> json;
  if (!options.events_path.empty()) {
    absl::StatusOr<std::unique_ptr<JsonLineSink>> opened =
        JsonLineSink::Open(options.events_path, spec.job(), spec.attempt());
    if (!opened.ok()) return Fail(opened.status(), kExitUsage);
    json = *std::move(opened);
    sinks.push_back(json.get());
  }
  TeeSink events(std::move(sinks));
  RunControl control;
  const ControlListener listener(control, {.on_signal = ControlListener::OnSignal::kStop});
  return Finish(RunJob(spec, events, control, options.run));
}

}  // namespace

int RunTrainCommand(TrainOptions options) {
  PrepareSignals();
  // Absolute and without a slash at its end: checkpoints are named by it, and the job's name is
  // made of it.
  std::error_code error;
  options.run_dir = std::filesystem::absolute(options.run_dir + "/.", error)
                        .lexically_normal()
                        .parent_path()
                        .string();
  if (error) return Fail(ErrnoStatus(error.value(), options.run_dir), kExitUsage);
  const absl::StatusOr<v1::ResolvedJobConfig> config = ReadJob(options);
  if (!config.ok()) return Fail(config.status(), kExitUsage);
  if (const absl::Status made = MakeDirectories(options.run_dir); !made.ok())
    return Fail(made, kExitUsage);
  if (const absl::Status locked = LockRunDir(options.run_dir); !locked.ok())
    return Fail(locked, kExitFailed);
  const absl::StatusOr<internal::AttemptSpec> spec = MakeSpec(options, *config);
  if (!spec.ok()) return Fail(spec.status(), kExitFailed);
  return Run(*spec, options);
}

}  // namespace trainerd::engine
