// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/base/format.h"
#include "proto/base/process/wake_up.h"
#include "proto/base/status_macros.h"
#include "server/api/request_check.h"
#include "server/runs/local_executor.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// How long to wait for a predecessor that is draining.
constexpr absl::Duration kPredecessorPatience = absl::Seconds(30);
// How long calls may still run when the daemon drains. Then they are cancelled.
constexpr absl::Duration kDrainGrace = absl::Seconds(2);
// A cancelled call whose client does not read ends with its connection, which is then dropped.
constexpr absl::Duration kCancelGrace = absl::Milliseconds(500);
constexpr absl::Duration kDropEvery = absl::Milliseconds(100);
// A connection that sends no HTTP/2 settings for this long is closed.
constexpr absl::Duration kHandshakeTime = absl::Seconds(10);
// A larger request is refused before it is parsed.
constexpr int kMaxMessageBytes = 4 << 20;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

int64_t MaxDescriptors() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  return static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, INT32_MAX));
}

void SetKeepalive(const Keepalive& keepalive, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(keepalive.send_every));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(keepalive.answer_within));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              Milliseconds(keepalive.accept_every));
}

// gRPC reports problems of its own on stderr. What a user must know is a status of ours.
void LogLibraryLine(gpr_log_func_args* args) {
  spdlog::debug("grpc {}:{} {}", args->file, args->line, args->message);
}

// The text of a client that is not UTF-8: the client gets an error.
void LogProtobufLine(google::protobuf::LogLevel, const char* file, int line,
                     const std::string& message) {
  spdlog::debug("protobuf {}:{} {}", file, line, message);
}

}  // namespace

Server::Server(Options options) : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Options options) {
  const absl::Time start_time = absl::Now();
  std::unique_ptr<Server> server(new Server(std::move(options)));
  const v1::ServerConfig& config = server->options_.config;
  ASSIGN_OR_RETURN(server->state_dir_, StateDir::Lock(config.state_dir(), kPredecessorPatience));
  ASSIGN_OR_RETURN(const std::vector<ListenAddress> addresses, server->ReadAddresses());
  ASSIGN_OR_RETURN(server->acceptor_, Acceptor::Open(addresses, LimitsOf(MaxDescriptors())));
  ASSIGN_OR_RETURN(server->control_,
                   ControlPlane::Open(config, std::make_unique<LocalExecutor>(config.shim_path()),
                                      {.output_umask = server->options_.output_umask,
                                       .notify_program = server->options_.notify_program}));
  RETURN_IF_ERROR(server->OpenAccess(addresses));
  RETURN_IF_ERROR(server->control_->Start());
  ControlPlane& control = *server->control_;
  server->services_ = std::make_unique<Services>(
      Services::Parts{control.jobs(), control.checkpoints(), control.store(), control.fan_out(),
                      control.evaluations(), control.drain(), control.devices(), control.files(),
                      control.downloads(), *server->access_, *server->tokens_,
                      server->certificates_.get(), [&control] { control.outbox().Wake(); }},
      Services::Info{.version = server->options_.version,
                     .state_dir = server->state_dir_->path(),
                     .addresses = server->acceptor_->Addresses(),
                     .start_time = start_time,
                     .max_watchers = config.max_watchers()});
  RETURN_IF_ERROR(server->Serve());
  server->tokens_->Start([server = server.get()] {
    server->services_->EndRevokedCalls(*server->tokens_);
    server->access_->FlushRefusals();
    server->ReportCertificates();
  });
  control.StartJobs();
  return server;
}

absl::StatusOr<std::vector<ListenAddress>> Server::ReadAddresses() {
  const v1::ServerConfig& config = options_.config;
  const bool shared = std::any_of(config.roles().begin(), config.roles().end(),
                                  [](const v1::RoleConfig& role) { return role.has_unix_user(); });
  std::vector<ListenAddress> addresses;
  for (const std::string& listen : config.listen()) {
    ASSIGN_OR_RETURN(ListenAddress address, ParseListen(listen, *state_dir_));
    address.is_shared = shared;
    if (address.is_tls && !config.has_tls()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "listen: ", listen, " needs the group tls of the settings, with certificate and key"));
    }
    addresses.push_back(std::move(address));
  }
  if (config.has_tls()) {
    ASSIGN_OR_RETURN(certificates_, Certificates::Open(config.tls()));
  }
  return addresses;
}

absl::Status Server::OpenAccess(const std::vector<ListenAddress>& addresses) {
  ASSIGN_OR_RETURN(tokens_, Tokens::Open(control_->store()));
  Access::Options options;
  options.roles = {options_.config.roles().begin(), options_.config.roles().end()};
  const bool all_unix = std::all_of(addresses.begin(), addresses.end(),
                                    [](const ListenAddress& address) { return address.is_unix; });
  if (!all_unix) {
    ASSIGN_OR_RETURN(options.daemon_token, LoadOrMakeToken(state_dir_->path()));
  }
  access_ = std::make_unique<Access>(std::move(options), control_->store(), *tokens_);
  return absl::OkStatus();
}

absl::Status Server::Serve() {
  // Never undone: when its last user ends, the library waits up to 10 s for the poller of a write
  // that did not finish.
  grpc_init();
  gpr_set_log_function(LogLibraryLine);
  google::protobuf::SetLogHandler(LogProtobufLine);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  RETURN_IF_ERROR(acceptor_->Register(&builder, {*access_, certificates_.get()}));
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(kHandshakeTime));
  SetKeepalive(options_.keepalive, &builder);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> checks;
  checks.push_back(MakeRequestCheck());
  builder.experimental().SetInterceptorCreators(std::move(checks));
  services_->Register(&builder);
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr) return absl::InternalError("cannot start the gRPC server");
  SetServing(true);
  acceptor_->Start();
  return absl::OkStatus();
}

void Server::ReportCertificates() {
  if (certificates_ == nullptr) return;
  certificates_->Refresh();
  const absl::Status reported = certificates_->ReportChange([this](const v1::Notice& notice) {
    v1::Event event;
    *event.mutable_notice() = notice;
    return control_->store().Change([&](Transaction& t) { return t.Append(event); });
  });
  if (!reported.ok())
    spdlog::warn("cannot store a notice about tls: {}", std::string(reported.message()));
}

std::string Server::StatusLine() {
  const absl::StatusOr<int> attempts = control_->drain().CountActiveAttempts();
  return absl::StrCat(control_->drain().in_force() ? "drains" : "serves", " at ",
                      absl::StrJoin(addresses(), ", "), "; ",
                      attempts.ok() ? Counted(*attempts, "active attempt")
                                    : std::string(attempts.status().message()));
}

void Server::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = grpc_->GetHealthCheckService();
  // The server as a whole, which is the service "".
  health->SetServingStatus(serving);
  for (const std::string& service : Services::Names()) health->SetServingStatus(service, serving);
}

void Server::ShutDownGrpc() {
  std::atomic<bool> ended{false};
  WakeUp wake_up;
  std::thread dropper([&] {
    wake_up.SleepFor(kDrainGrace + kCancelGrace);
    while (!ended) {
      acceptor_->DropConnections();
      wake_up.SleepFor(kDropEvery);
    }
  });
  grpc_->Shutdown(absl::ToChronoTime(absl::Now() + kDrainGrace));
  ended = true;
  wake_up.Wake();
  dropper.join();
}

Server::~Server() {
  if (state_dir_ != nullptr) state_dir_->AnnounceShutdown();
  if (acceptor_ != nullptr) acceptor_->Drain();
  if (tokens_ != nullptr) tokens_->Stop();
  if (control_ != nullptr) control_->Stop();
  if (grpc_ == nullptr) return;
  SetServing(false);
  // Streams first: a client that does not read would use up the whole grace.
  services_->Drain();
  ShutDownGrpc();
}

}  // namespace trainerd::server
