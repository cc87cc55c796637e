// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/runs/devices.h"
#include "server/store/event_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// A predecessor that is draining gets this long to leave.
constexpr absl::Duration kPredecessorPatience = absl::Seconds(30);
// Calls that are still running when the daemon drains.
constexpr absl::Duration kDrainGrace = absl::Seconds(2);
// trainerd-worker opens devices to answer: the first time on a machine takes seconds.
constexpr absl::Duration kDeviceTimeout = absl::Seconds(20);
constexpr absl::Duration kDeviceRetry = absl::Seconds(5);
constexpr int kMaxMessageBytes = 16 << 20;

bool IsExecutable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

}  // namespace

Server::Server(Options options)
    : options_(std::move(options)), start_time_(absl::Now()), event_log_(EventLog::Limits{}) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Options options) {
  std::unique_ptr<Server> server(new Server(std::move(options)));
  RETURN_IF_ERROR(server->Open());
  RETURN_IF_ERROR(server->reconciler_->Recover());
  server->reconciler_->Start();
  RETURN_IF_ERROR(server->Serve());
  server->device_thread_ = std::thread([raw = server.get()] { raw->QueryDevicesLoop(); });
  return server;
}

absl::Status Server::Open() {
  ASSIGN_OR_RETURN(state_dir_, StateDir::Lock(options_.config.state_dir(), kPredecessorPatience));
  ASSIGN_OR_RETURN(address_, ParseListen(options_.config.listen(), *state_dir_));
  ASSIGN_OR_RETURN(store_, Store::Open({.path = state_dir_->path() + "/trainerd.db",
                                        .listener = [this](const std::vector<EventRecord>& e) {
                                          event_log_.Publish(e);
                                        }}));
  int64_t last_seq = 0;
  RETURN_IF_ERROR(store_->Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(last_seq, LastSeq(db));
    return absl::OkStatus();
  }));
  event_log_.Start(last_seq, [this](const std::string& job, int64_t after, int limit) {
    absl::StatusOr<std::vector<EventRecord>> records = std::vector<EventRecord>();
    absl::Status read = store_->Read([&](Connection& db) {
      records = ReadEvents(db, job.empty() ? "" : JobId(job), after, limit);
      return records.status();
    });
    return read.ok() ? std::move(records) : absl::StatusOr<std::vector<EventRecord>>(read);
  });
  ASSIGN_OR_RETURN(std::unique_ptr<SpoolWatcher> watcher, SpoolWatcher::Create());
  MakeParts(std::move(watcher));
  return absl::OkStatus();
}

void Server::MakeParts(std::unique_ptr<SpoolWatcher> watcher) {
  const v1::ServerConfig& config = options_.config;
  const std::string runs_dir = state_dir_->runs_dir();
  fan_out_ = std::make_unique<FanOut>(event_log_, store_->database_id());
  event_log_.SetWake([this] { fan_out_->Wake(); });
  disk_ = std::make_unique<DiskWorker>();
  executor_ = std::make_unique<LocalExecutor>(config.shim_path());
  housekeeping_ = std::make_unique<Housekeeping>(
      Housekeeping::Options{.runs_dir = runs_dir,
                            .metrics_retention = FromProto(config.metrics_retention())},
      *store_, *disk_);
  // The ingester runs before the reconciler exists: its hooks find it through the pointer.
  ingester_ = std::make_unique<Ingester>(*store_, std::move(watcher), activity_,
                                         Ingester::Hooks{.poke = [this](const std::string& job) {
                                           if (reconciler_ != nullptr) reconciler_->Poke(job);
                                         }});
  reconciler_ = std::make_unique<Reconciler>(
      Reconciler::Options{
          .launch = {.worker_path = config.worker_path(), .cpu_threads = config.cpu_threads()},
          .shim_path = config.shim_path(),
          .runs_dir = runs_dir,
          .backoff = {.first = FromProto(config.retry_backoff()),
                      .max = FromProto(config.retry_backoff_max())},
          .boot_id = BootId(),
          .is_executable = IsExecutable},
      Reconciler::Parts{*store_, *executor_, *ingester_, activity_, devices_, *disk_,
                        *housekeeping_});
  jobs_ = std::make_unique<JobManager>(
      JobManager::Options{
          .runs_dir = runs_dir,
          .inspect_path = config.inspect_path(),
          .validate_timeout = FromProto(config.validate_timeout()),
          .max_queued_jobs = config.max_queued_jobs(),
          .poke = [this](const std::string& job) { reconciler_->Poke(job); },
          .remove = [this](const std::string& job_id) { housekeeping_->Delete(job_id); }},
      *store_, devices_);
  streams_ = std::make_unique<StreamLimit>(config.max_watchers());
  log_poller_ = std::make_unique<LogPoller>();
  trainer_ = std::make_unique<TrainerService>(*jobs_, WatchParts{*store_, *fan_out_, *streams_});
  runs_ = std::make_unique<RunsService>(*store_, *log_poller_, *streams_);
  checkpoints_ = std::make_unique<CheckpointsService>(*store_);
  admin_ = std::make_unique<AdminService>(
      AdminService::Info{options_.version, state_dir_->path(), start_time_}, *store_, devices_);
}

absl::Status Server::Serve() {
  std::string token;
  if (!address_.is_unix) {
    ASSIGN_OR_RETURN(token, LoadOrMakeToken(state_dir_->path()));
  }
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address_.grpc_address, MakeCredentials(address_, token), &port);
  // Without this a second daemon could share the port silently.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
  builder.RegisterService(trainer_.get());
  builder.RegisterService(runs_.get());
  builder.RegisterService(checkpoints_.get());
  builder.RegisterService(admin_.get());
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot listen at ", address_.for_people,
                                               "; is the port taken by another program?"));
  }
  if (!address_.is_unix) {
    const size_t colon = address_.for_people.rfind(':');
    address_.for_people = absl::StrCat(address_.for_people.substr(0, colon), ":", port);
  }
  grpc_->GetHealthCheckService()->SetServingStatus(true);
  return absl::OkStatus();
}

void Server::QueryDevicesLoop() {
  while (true) {
    absl::StatusOr<std::vector<v1::Device>> devices =
        QueryDevices(options_.config.worker_path(), kDeviceTimeout);
    if (devices.ok()) {
      spdlog::info("devices={}", devices->size());
      devices_.Set(*std::move(devices));
    } else {
      devices_.SetProblem(absl::StrCat("cannot ask what this machine offers: ",
                                       std::string(devices.status().message())));
    }
    reconciler_->Poke("");
    absl::MutexLock lock(&mutex_);
    if (devices_.known()) return;
    if (mutex_.AwaitWithTimeout(absl::Condition(this, &Server::IsStopping), kDeviceRetry)) return;
  }
}

Server::~Server() {
  if (state_dir_ != nullptr) state_dir_->AnnounceShutdown();
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (reconciler_ != nullptr) reconciler_->Stop();
  if (admin_ != nullptr) admin_->SetDraining();
  if (grpc_ != nullptr) {
    grpc_->GetHealthCheckService()->SetServingStatus(false);
    // Streams first: one that does not read would use up the whole grace.
    fan_out_->Drain(absl::UnavailableError("the daemon is leaving; call again when it is back"));
    log_poller_->Wake(/*draining=*/true);
    grpc_->Shutdown(absl::ToChronoTime(absl::Now() + kDrainGrace));
  }
  if (device_thread_.joinable()) device_thread_.join();
}

}  // namespace trainerd::server
