// SPDX-License-Identifier: Apache-2.0
#include "server/control_plane.h"

#include <unistd.h>

#include <utility>

#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/runs/devices.h"
#include "server/store/event_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// trainerd-worker opens the devices to answer. The first time on a machine this takes seconds.
constexpr absl::Duration kDeviceTimeout = absl::Seconds(20);

bool IsExecutable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

}  // namespace

ControlPlane::ControlPlane(const v1::ServerConfig& config, std::unique_ptr<Executor> executor)
    : config_(config),
      runs_dir_(config.state_dir() + "/runs"),
      event_log_(EventLog::Limits{}),
      executor_(std::move(executor)) {}

absl::StatusOr<std::unique_ptr<ControlPlane>> ControlPlane::Open(
    const v1::ServerConfig& config, std::unique_ptr<Executor> executor,
    std::optional<uint32_t> output_umask) {
  std::unique_ptr<ControlPlane> plane(new ControlPlane(config, std::move(executor)));
  RETURN_IF_ERROR(plane->OpenStore());
  ASSIGN_OR_RETURN(std::unique_ptr<SpoolWatcher> watcher, SpoolWatcher::Create());
  plane->MakeParts(std::move(watcher), output_umask);
  return plane;
}

absl::Status ControlPlane::OpenStore() {
  ASSIGN_OR_RETURN(store_, Store::Open({.path = config_.state_dir() + "/trainerd.db",
                                        .listener = [this](const std::vector<EventRecord>& e) {
                                          event_log_.Publish(e);
                                        }}));
  ASSIGN_OR_RETURN(const int64_t last_seq,
                   store_->Read([](Connection& db) { return LastSeq(db); }));
  event_log_.Start(last_seq, [this](const std::string& job, int64_t after, int limit) {
    return store_->Read([&](Connection& db) {
      return ReadEvents(db, job.empty() ? "" : JobId(job), after, limit);
    });
  });
  return absl::OkStatus();
}

void ControlPlane::MakeParts(std::unique_ptr<SpoolWatcher> watcher,
                             std::optional<uint32_t> output_umask) {
  fan_out_ = std::make_unique<FanOut>(event_log_, store_->database_id());
  event_log_.SetWake([this] { fan_out_->Wake(); });
  disk_ = std::make_unique<DiskWorker>();
  housekeeping_ = std::make_unique<Housekeeping>(
      Housekeeping::Options{.runs_dir = runs_dir_,
                            .metrics_retention = FromProto(config_.metrics_retention())},
      *store_, *disk_);
  // The ingester reads nothing, and so pokes nobody, before the reconciler adds attempts to it.
  auto poke = [this](const std::string& job) { reconciler_->Poke(job); };
  device_watcher_ = std::make_unique<DeviceWatcher>(
      DeviceWatcher::Options{.query =
                                 [this] {
                                   return QueryDevices(config_.worker_path(), kDeviceTimeout,
                                                       [this] { return stopping_.load(); });
                                 },
                             .on_answer = [this] { reconciler_->Poke(""); }},
      devices_);
  ingester_ = std::make_unique<Ingester>(*store_, std::move(watcher), activity_,
                                         Ingester::Hooks{.poke = poke});
  reconciler_ = std::make_unique<Reconciler>(
      Reconciler::Options{.launch = {.worker_path = config_.worker_path(),
                                     .cpu_threads = config_.cpu_threads(),
                                     .output_umask = output_umask},
                          .shim_path = config_.shim_path(),
                          .runs_dir = runs_dir_,
                          .backoff = {.first = FromProto(config_.retry_backoff()),
                                      .max = FromProto(config_.retry_backoff_max())},
                          .clock = [this] { return store_->SteadyNow(); },
                          .boot_id = BootId(),
                          .is_executable = IsExecutable,
                          .query_devices = [this] { device_watcher_->QueryNow(); }},
      Reconciler::Parts{*store_, *executor_, *ingester_, activity_, devices_, *disk_,
                        *housekeeping_});
  jobs_ = std::make_unique<JobManager>(
      JobManager::Options{
          .runs_dir = runs_dir_,
          .paths = PathPolicy(
              {.state_dir = config_.state_dir(),
               .home = HomeOfUser(),
               .allow_paths = {config_.allow_paths().begin(), config_.allow_paths().end()}}),
          .inspections = {.program = config_.inspect_path(),
                          .runs_dir = runs_dir_,
                          .timeout = FromProto(config_.validate_timeout())},
          .max_queued_jobs = config_.max_queued_jobs(),
          .poke = poke,
          .retain = [this](const std::string& job_id) { housekeeping_->Retain(job_id); },
          .remove = [this](const std::string& job_id) { housekeeping_->Delete(job_id); }},
      *store_, devices_);
}

absl::Status ControlPlane::Start() {
  RETURN_IF_ERROR(reconciler_->Recover());
  reconciler_->Start();
  heap_trimmer_ = std::make_unique<HeapTrimmer>();
  return absl::OkStatus();
}

void ControlPlane::StartJobs() { device_watcher_->Start(); }

void ControlPlane::Stop() {
  stopping_ = true;
  heap_trimmer_.reset();
  // These are null if the database could not be opened.
  if (jobs_ != nullptr) jobs_->Drain();
  if (device_watcher_ != nullptr) device_watcher_->Stop();
  // The reconciler uses the ingester, and the ingester pokes the reconciler: both threads end
  // before either object is destroyed.
  if (reconciler_ != nullptr) reconciler_->Stop();
  if (ingester_ != nullptr) ingester_->Stop();
}

ControlPlane::~ControlPlane() { Stop(); }

}  // namespace trainerd::server
