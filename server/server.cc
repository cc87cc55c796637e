// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/runs/devices.h"
#include "server/runs/local_executor.h"
#include "server/store/event_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// How long to wait for a predecessor that is draining.
constexpr absl::Duration kPredecessorPatience = absl::Seconds(30);
// How long calls may still run when the daemon drains.
constexpr absl::Duration kDrainGrace = absl::Seconds(2);
constexpr int kMaxMessageBytes = 16 << 20;

// gRPC reports problems of its own on stderr. What a user must know is a status of ours.
void LogLibraryLine(gpr_log_func_args* args) {
  spdlog::debug("grpc {}:{} {}", args->file, args->line, args->message);
}

}  // namespace

Server::Server(Options options) : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Options options) {
  const absl::Time start_time = absl::Now();
  std::unique_ptr<Server> server(new Server(std::move(options)));
  const v1::ServerConfig& config = server->options_.config;
  ASSIGN_OR_RETURN(server->state_dir_, StateDir::Lock(config.state_dir(), kPredecessorPatience));
  ASSIGN_OR_RETURN(server->address_, ParseListen(config.listen(), *server->state_dir_));
  ASSIGN_OR_RETURN(server->control_,
                   ControlPlane::Open(config, std::make_unique<LocalExecutor>(config.shim_path()),
                                      server->options_.output_umask));
  RETURN_IF_ERROR(server->control_->Start());
  ControlPlane& control = *server->control_;
  server->services_ = std::make_unique<Services>(
      Services::Parts{control.jobs(), control.store(), control.fan_out(), control.devices()},
      Services::Info{.version = server->options_.version,
                     .state_dir = server->state_dir_->path(),
                     .start_time = start_time,
                     .max_watchers = config.max_watchers()});
  RETURN_IF_ERROR(server->Serve());
  control.StartJobs();
  return server;
}

absl::Status Server::Serve() {
  std::string token;
  if (!address_.is_unix) {
    ASSIGN_OR_RETURN(token, LoadOrMakeToken(state_dir_->path()));
  }
  gpr_set_log_function(LogLibraryLine);
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
  services_->Register(&builder);
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen at ", address_.display,
                     "; is the port taken by another program? Use another port with --listen"));
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
  grpc_->GetHealthCheckService()->SetServingStatus(false);
  // Streams first: a client that does not read would use up the whole grace.
  services_->Drain();
  grpc_->Shutdown(absl::ToChronoTime(absl::Now() + kDrainGrace));
}

}  // namespace trainerd::server
