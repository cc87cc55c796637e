// SPDX-License-Identifier: Apache-2.0
// The parts of the daemon that run without gRPC, constructed, started and stopped in one place.
// Commands write to the store, the reconciler acts on what they wrote, the ingester adds what the
// workers report, and the fan-out sends the committed events to the watchers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/process/heap_trimmer.h"
#include "server/commands/checkpoints/checkpoint_manager.h"
#include "server/commands/drain.h"
#include "server/commands/evaluations.h"
#include "server/commands/job_manager.h"
#include "server/events/event_log.h"
#include "server/events/fan_out.h"
#include "server/files/file_store.h"
#include "server/ingest/activity.h"
#include "server/ingest/ingester.h"
#include "server/ledger/disk/disk_worker.h"
#include "server/ledger/downloads_in_use.h"
#include "server/ledger/housekeeping.h"
#include "server/local_files/inbox.h"
#include "server/local_files/status_mirror.h"
#include "server/metrics/compactor.h"
#include "server/outbox/notifier.h"
#include "server/outbox/notify_targets.h"
#include "server/outbox/outbox.h"
#include "server/reconcile/reconciler.h"
#include "server/runs/device_table.h"
#include "server/runs/device_watcher.h"
#include "server/runs/executor.h"
#include "server/store/store.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd::server {

class ControlPlane {
 public:
  struct Surroundings {
    // AttemptSpec.output_umask.
    std::optional<uint32_t> output_umask;
    // Path of trainerd-notify.
    std::string notify_program;
  };
  // Opens the database of the state directory `config.state_dir`, whose lock the caller holds.
  // `config` is resolved and names the other programs. Errors: of NotifyTargets::Create and of
  // Store::Open; Internal (inotify).
  static absl::StatusOr<std::unique_ptr<ControlPlane>> Open(const v1::ServerConfig& config,
                                                            std::unique_ptr<Executor> executor,
                                                            Surroundings surroundings = {});
  ~ControlPlane();

  // Settles what an earlier daemon left, then starts the threads. Errors: of Reconciler::Recover.
  absl::Status Start();
  // Begins to watch the devices of this machine. No job starts before the first answer. Call it
  // once the daemon serves, so that a daemon that cannot serve starts no job.
  void StartJobs();
  // Kills the children of SubmitJob(validate_only) and of the query of the devices, and ends the
  // threads that act by themselves: the reconciler, the ingester, the disk worker and the notifier.
  // Running
  // attempts continue under their shims. Other commands and watchers still work until the
  // destructor. Idempotent.
  void Stop();

  Store& store() { return *store_; }
  FanOut& fan_out() { return *fan_out_; }
  JobManager& jobs() { return *jobs_; }
  CheckpointManager& checkpoints() { return *checkpoints_; }
  Evaluations& evaluations() { return *evaluations_; }
  DrainCommands& drain() { return *drain_commands_; }
  DeviceTable& devices() { return devices_; }
  FileStore& files() { return *files_; }
  DownloadsInUse& downloads() { return *downloads_; }
  Outbox& outbox() { return *outbox_; }
  // Of the reconciler: `rounds` grows while its thread lives, at once after `Poke`.
  int64_t rounds() const { return reconciler_->rounds(); }
  void Poke() { reconciler_->Poke(""); }

 private:
  ControlPlane(const v1::ServerConfig& config, std::unique_ptr<Executor> executor,
               Surroundings surroundings);
  absl::Status OpenStore();
  void MakeParts(std::unique_ptr<SpoolWatcher> watcher);
  void MakeOtherCommands();
  absl::Status MakeLocalFiles();

  const v1::ServerConfig config_;
  const Surroundings surroundings_;
  const std::string runs_dir_;
  NotifyTargets notify_targets_;
  std::atomic<bool> stopping_{false};

  // Destroyed in reverse order, so each part outlives the parts that use it. Exception: the
  // ingester pokes the reconciler, which is destroyed first. Stop ends the ingester's thread
  // before that.
  EventLog event_log_;
  MetricCompactor compactor_;
  // The store's writer calls these two until it is destroyed; Stop ends the thread of the second.
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<StatusMirror> status_mirror_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Notifier> notifier_;
  DeviceTable devices_;
  std::unique_ptr<DownloadsInUse> downloads_;
  DaemonDrain drain_;
  std::unique_ptr<FileStore> files_;
  ActivityTable activity_;
  std::unique_ptr<FanOut> fan_out_;
  std::unique_ptr<DiskWorker> disk_;
  const std::unique_ptr<Executor> executor_;
  std::unique_ptr<Housekeeping> housekeeping_;
  std::unique_ptr<Ingester> ingester_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<JobManager> jobs_;
  std::unique_ptr<CheckpointManager> checkpoints_;
  std::unique_ptr<Evaluations> evaluations_;
  std::unique_ptr<DrainCommands> drain_commands_;
  // Null where the settings have none.
  std::unique_ptr<Inbox> inbox_;
  // Pokes the reconciler, so it is destroyed first. The reconciler requests queries from it; the
  // reconciler's thread has ended by then.
  std::unique_ptr<DeviceWatcher> device_watcher_;
  std::unique_ptr<HeapTrimmer> heap_trimmer_;
};

}  // namespace trainerd::server
