// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/status_macros.h"
#include "server/runs/local_executor.h"

namespace trainerd::server {
namespace {

// How long to wait for a predecessor that is draining.
constexpr absl::Duration kPredecessorPatience = absl::Seconds(30);
// How long calls may still run when the daemon drains.
constexpr absl::Duration kDrainGrace = absl::Seconds(2);
constexpr int kMaxMessageBytes = 16 << 20;

}  // namespace

Server::Server(Options options) : options_(std::move(options)), start_time_(absl::Now()) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Options options) {
  std::unique_ptr<Server> server(new Server(std::move(options)));
  RETURN_IF_ERROR(server->Open());
  RETURN_IF_ERROR(server->control_->Start());
  RETURN_IF_ERROR(server->Serve());
  return server;
}

absl::Status Server::Open() {
  const v1::ServerConfig& config = options_.config;
  ASSIGN_OR_RETURN(state_dir_, StateDir::Lock(config.state_dir(), kPredecessorPatience));
  ASSIGN_OR_RETURN(address_, ParseListen(config.listen(), *state_dir_));
  ASSIGN_OR_RETURN(control_,
                   ControlPlane::Open(config, std::make_unique<LocalExecutor>(config.shim_path())));
  Store& store = control_->store();
  streams_ = std::make_unique<StreamLimit>(config.max_watchers());
  log_poller_ = std::make_unique<LogPoller>();
  trainer_ = std::make_unique<TrainerService>(control_->jobs(),
                                              WatchParts{store, control_->fan_out(), *streams_});
  runs_ = std::make_unique<RunsService>(store, *log_poller_, *streams_);
  checkpoints_ = std::make_unique<CheckpointsService>(store);
  admin_ = std::make_unique<AdminService>(
      AdminService::Info{options_.version, state_dir_->path(), start_time_}, store,
      control_->devices());
  return absl::OkStatus();
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
    return absl::UnavailableError(
        absl::StrCat("cannot listen at ", address_.display,
                     "; probably another program uses the port. Use another port with --listen"));
  }
  if (!address_.is_unix) {
    const size_t colon = address_.display.rfind(':');
    address_.display = absl::StrCat(address_.display.substr(0, colon), ":", port);
  }
  grpc_->GetHealthCheckService()->SetServingStatus(true);
  return absl::OkStatus();
}

Server::~Server() {
  if (state_dir_ != nullptr) state_dir_->AnnounceShutdown();
  if (control_ != nullptr) control_->Stop();
  if (grpc_ == nullptr) return;
  admin_->SetDraining();
  grpc_->GetHealthCheckService()->SetServingStatus(false);
  // Streams first: a client that does not read would use up the whole grace.
  control_->fan_out().Drain(
      absl::UnavailableError("the daemon is shutting down; call again when it has restarted"));
  log_poller_->Wake(/*draining=*/true);
  grpc_->Shutdown(absl::ToChronoTime(absl::Now() + kDrainGrace));
}

}  // namespace trainerd::server
