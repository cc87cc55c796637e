// SPDX-License-Identifier: Apache-2.0
// The daemon as an object: puts the parts together, serves, drains. Start order: lock, database,
// open attempts, only then SERVING.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/api/listen.h"
#include "server/api/services.h"
#include "server/commands/job_manager.h"
#include "server/events/event_log.h"
#include "server/events/fan_out.h"
#include "server/ingest/activity.h"
#include "server/ingest/ingester.h"
#include "server/ledger/disk_worker.h"
#include "server/ledger/housekeeping.h"
#include "server/reconcile/reconciler.h"
#include "server/runs/device_table.h"
#include "server/runs/local_executor.h"
#include "server/store/state_dir.h"
#include "server/store/store.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd::server {

class Server {
 public:
  struct Options {
    v1::ServerConfig config;  // resolved; state_dir and the programs are set
    std::string version;
  };
  // Starts everything; the health service says SERVING when this returns. Errors:
  // FailedPrecondition (another daemon, a newer database), PermissionDenied, ResourceExhausted,
  // InvalidArgument (listen), Unavailable (the port is taken).
  static absl::StatusOr<std::unique_ptr<Server>> Start(Options options);
  // Drains: no new starts, streams are ended, running attempts are left to their shims.
  ~Server();

  // What trainctl's --address takes.
  const std::string& address() const { return address_.for_people; }

 private:
  explicit Server(Options options);
  absl::Status Open();
  void MakeParts(std::unique_ptr<SpoolWatcher> watcher);
  absl::Status Serve();
  void QueryDevicesLoop();
  bool IsStopping() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_; }

  const Options options_;
  const absl::Time start_time_;
  ListenAddress address_;

  // In order of construction; destroyed in the reverse order, so that each part outlives those that
  // use it.
  std::unique_ptr<StateDir> state_dir_;
  EventLog event_log_;
  std::unique_ptr<Store> store_;
  DeviceTable devices_;
  ActivityTable activity_;
  std::unique_ptr<FanOut> fan_out_;
  std::unique_ptr<DiskWorker> disk_;
  std::unique_ptr<LocalExecutor> executor_;
  std::unique_ptr<Housekeeping> housekeeping_;
  std::unique_ptr<Ingester> ingester_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<JobManager> jobs_;
  std::unique_ptr<StreamLimit> streams_;
  std::unique_ptr<LogPoller> log_poller_;
  std::unique_ptr<TrainerService> trainer_;
  std::unique_ptr<RunsService> runs_;
  std::unique_ptr<CheckpointsService> checkpoints_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<grpc::Server> grpc_;

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread device_thread_;
};

}  // namespace trainerd::server
