// SPDX-License-Identifier: Apache-2.0
#include "server/control_plane.h"

#include <unistd.h>

#include <utility>

#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/runs/devices.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/notification_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// trainerd-worker opens the devices to answer. The first time on a machine this takes seconds.
constexpr absl::Duration kDeviceTimeout = absl::Seconds(20);

bool IsExecutable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

}  // namespace

ControlPlane::ControlPlane(const v1::ServerConfig& config, std::unique_ptr<Executor> executor,
                           Surroundings surroundings)
    : config_(config),
      surroundings_(std::move(surroundings)),
      runs_dir_(config.state_dir() + "/runs"),
      event_log_(EventLog::Limits{}),
      executor_(std::move(executor)) {}

absl::StatusOr<std::unique_ptr<ControlPlane>> ControlPlane::Open(const v1::ServerConfig& config,
                                                                 std::unique_ptr<Executor> executor,
                                                                 Surroundings surroundings) {
  std::unique_ptr<ControlPlane> plane(
      new ControlPlane(config, std::move(executor), std::move(surroundings)));
  ASSIGN_OR_RETURN(plane->notify_targets_, NotifyTargets::Create(config));
  ASSIGN_OR_RETURN(plane->outbox_, Outbox::Create(plane->notify_targets_));
  RETURN_IF_ERROR(plane->OpenStore());
  ASSIGN_OR_RETURN(std::unique_ptr<SpoolWatcher> watcher, SpoolWatcher::Create());
  plane->MakeParts(std::move(watcher));
  RETURN_IF_ERROR(plane->MakeLocalFiles());
  return plane;
}

absl::Status ControlPlane::OpenStore() {
  ASSIGN_OR_RETURN(store_, Store::Open({.path = config_.state_dir() + "/trainerd.db",
                                        .listener =
                                            [this](const std::vector<EventRecord>& e) {
                                              event_log_.Publish(e);
                                              compactor_.Note(e);
                                              outbox_->OnCommit();
                                              if (status_mirror_) status_mirror_->OnChange();
                                            },
                                        .before_end =
                                            [this](Transaction& t, const auto& events) {
                                              return outbox_->Write(t, events);
                                            }}));
  downloads_ = std::make_unique<DownloadsInUse>(*store_);
  ASSIGN_OR_RETURN(const int64_t last_seq,
                   store_->Read([](Connection& db) { return LastSeq(db); }));
  event_log_.labels().SetRead([this](const std::vector<std::string>& job_ids) {
    return store_->Read([&](Connection& db) -> absl::StatusOr<JobLabels::Answer> {
      JobLabels::Answer answer;
      ASSIGN_OR_RETURN(answer.last_seq, LastSeq(db));
      for (const std::string& id : job_ids) {
        ASSIGN_OR_RETURN(LabelHistory history, ReadLabelHistory(db, id));
        answer.histories.push_back(std::move(history));
      }
      return answer;
    });
  });
  event_log_.Start(last_seq, [this](const std::string& job, int64_t after, int limit) {
    return store_->Read([&](Connection& db) {
      return ReadEvents(db, job.empty() ? "" : JobId(job), after, limit);
    });
  });
  return absl::OkStatus();
}

void ControlPlane::MakeParts(std::unique_ptr<SpoolWatcher> watcher) {
  fan_out_ = std::make_unique<FanOut>(event_log_, store_->database_id());
  event_log_.SetWake([this] { fan_out_->Wake(); });
  disk_ = std::make_unique<DiskWorker>();
  files_ = std::make_unique<FileStore>(FileStore::Options{.dir = config_.state_dir() + "/files",
                                                          .max_bytes = config_.max_upload_bytes()},
                                       *store_);
  housekeeping_ = std::make_unique<Housekeeping>(
      Housekeeping::Options{
          .runs_dir = runs_dir_,
          .metrics_retention = FromProto(config_.metrics_retention()),
          .audit_retention = FromProto(config_.audit_retention()),
          .expire_uploads = [this] { return files_->Expire(); },
          .before_delete =
              [this](const std::string& job_id) { return CancelAllEvaluations(*store_, job_id); },
          .in_use = [this] { return downloads_->Names(); }},
      *store_, *disk_);
  notifier_ = std::make_unique<Notifier>(Notifier::Options{.program = surroundings_.notify_program},
                                         Notifier::Parts{notify_targets_, *outbox_, *store_});
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
                                     .files_dir = files_->dir(),
                                     .output_umask = surroundings_.output_umask},
                          .shim_path = config_.shim_path(),
                          .runs_dir = runs_dir_,
                          .backoff = {.first = FromProto(config_.retry_backoff()),
                                      .max = FromProto(config_.retry_backoff_max())},
                          .rules = QueueRulesOf(config_),
                          .clock = [this] { return store_->SteadyNow(); },
                          .boot_id = BootId(),
                          .is_executable = IsExecutable,
                          .query_devices = [this] { device_watcher_->QueryNow(); }},
      Reconciler::Parts{*store_, *executor_, *ingester_, activity_, devices_, *disk_,
                        *housekeeping_, drain_});
  jobs_ = std::make_unique<JobManager>(
      JobManager::Options{
          .runs_dir = runs_dir_,
          .paths = PathPolicy(
              {.state_dir = config_.state_dir(),
               .home = HomeOfUser(),
               .allow_paths = {config_.allow_paths().begin(), config_.allow_paths().end()},
               .private_files = PrivateFiles(config_)}),
          .notify = notify_targets_,
          .inspections = {.program = config_.inspect_path(),
                          .runs_dir = runs_dir_,
                          .timeout = FromProto(config_.validate_timeout())},
          .files = files_.get(),
          .max_queued_jobs = config_.max_queued_jobs(),
          .max_queued_jobs_per_owner = config_.quotas().max_queued_jobs_per_owner(),
          .rules = QueueRulesOf(config_),
          .poke = poke,
          .retain = [this](const std::string& job_id) { housekeeping_->Retain(job_id); },
          .remove = [this](const std::string& job_id) { housekeeping_->Delete(job_id); }},
      *store_, devices_);
  MakeOtherCommands();
}

void ControlPlane::MakeOtherCommands() {
  auto poke = [this](const std::string& job) { reconciler_->Poke(job); };
  checkpoints_ = std::make_unique<CheckpointManager>(
      CheckpointManager::Options{.poke = poke, .files = files_.get()}, *store_, *housekeeping_);
  drain_commands_ = std::make_unique<DrainCommands>(*store_, drain_, [this] { Poke(); });
  evaluations_ = std::make_unique<Evaluations>(
      Evaluations::Options{
          .poke = poke,
          .retain = [this](const std::string& job_id) { housekeeping_->Retain(job_id); }},
      *store_);
}

absl::Status ControlPlane::MakeLocalFiles() {
  if (config_.has_status_file())
    status_mirror_ = std::make_unique<StatusMirror>(
        StatusMirror::Options{.path = config_.status_file()}, *store_);
  if (!config_.has_inbox()) return absl::OkStatus();
  ASSIGN_OR_RETURN(inbox_, Inbox::Open({.folder = config_.inbox(),
                                        .home = HomeOfUser(),
                                        .submit = [this](const v1::SubmitJobRequest& request) {
                                          return jobs_->Submit(request, kInboxPeer);
                                        }}));
  return absl::OkStatus();
}

absl::Status ControlPlane::Start() {
  RETURN_IF_ERROR(downloads_->Load());
  RETURN_IF_ERROR(reconciler_->Recover());
  if (const absl::Status status = files_->Recover(); !status.ok())
    spdlog::error("cannot remove the rest of interrupted uploads: {}",
                  std::string(status.message()));
  reconciler_->Start();
  compactor_.Start(*store_);
  // Without a target there may be notifications of an earlier one.
  ASSIGN_OR_RETURN(const bool has_notifications,
                   store_->Read([](Connection& db) { return HasNotifications(db); }));
  if (has_notifications || !notify_targets_.empty()) notifier_->Start();
  heap_trimmer_ = std::make_unique<HeapTrimmer>();
  return absl::OkStatus();
}

void ControlPlane::StartJobs() {
  device_watcher_->Start();
  if (status_mirror_ != nullptr) status_mirror_->Start();
  if (inbox_ != nullptr) inbox_->Start();
}

void ControlPlane::Stop() {
  stopping_ = true;
  heap_trimmer_.reset();
  // These are null if the database could not be opened.
  if (inbox_ != nullptr) inbox_->Stop();
  if (jobs_ != nullptr) jobs_->Drain();
  if (device_watcher_ != nullptr) device_watcher_->Stop();
  // The reconciler uses the ingester, and the ingester pokes the reconciler: both threads end
  // before either object is destroyed.
  if (reconciler_ != nullptr) reconciler_->Stop();
  if (ingester_ != nullptr) ingester_->Stop();
  compactor_.Stop();
  if (notifier_ != nullptr) notifier_->Stop();
  if (status_mirror_ != nullptr) status_mirror_->Stop();
}

ControlPlane::~ControlPlane() { Stop(); }

}  // namespace trainerd::server
