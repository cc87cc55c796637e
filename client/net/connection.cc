// SPDX-License-Identifier: Apache-2.0
// Each connection has its own channel and subchannel pool, so that a new connection does not wait
// for the backoff of the old one.
#include "client/net/connection.h"

#include <grpc/support/log.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <map>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/net/status_details.h"
#include "client/net/tls_probe.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/wrappers.pb.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/api_services.h"
#include "proto/contract/job/revision.h"
#include "trainerd/v1/file.grpc.pb.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::client {
namespace {

constexpr absl::Duration kCallDeadline = absl::Seconds(60);
// The daemon's deadline for reading the data (ServerConfig.validate_timeout) is at most 1 h.
constexpr absl::Duration kValidateDeadline = absl::Hours(1);
// Reading a checkpoint back takes hours on a slow disk.
constexpr absl::Duration kLongCallDeadline = absl::Hours(24);
// How long to wait for other inspections to end.
constexpr absl::Duration kInspectionPatience = absl::Minutes(2);
constexpr absl::Duration kHealthDeadline = absl::Seconds(5);
// grpc.health.v1.HealthCheckResponse.SERVING
constexpr int kServing = 1;
constexpr absl::Duration kRepeatFor = absl::Seconds(5);
constexpr absl::Duration kRepeatPause = absl::Milliseconds(100);
constexpr int kMaxMessageBytes = 256 << 20;

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  AttachDetails(status.error_details(), &result);
  return result;
}

std::chrono::system_clock::time_point Deadline(absl::Duration span) {
  return absl::ToChronoTime(absl::Now() + span);
}

void Authorize(const Address& address, grpc::ClientContext* context) {
  if (!address.token.empty())
    context->AddMetadata("authorization", absl::StrCat("Bearer ", address.token));
}

absl::Status Unreachable(const Address& address, const std::string& why) {
  const std::string problem = address.is_tls ? TlsProblem(address) : "";
  return absl::UnavailableError(problem.empty() ? NoDaemonMessage(address, why) : problem);
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const Address& address) {
  if (!address.is_tls) return grpc::InsecureChannelCredentials();
  // The library logs each failed handshake to stderr; TlsProblem reports it.
  gpr_set_log_function([](gpr_log_func_args*) {});
  return grpc::SslCredentials({.pem_root_certs = address.ca,
                               .pem_private_key = address.key,
                               .pem_cert_chain = address.certificate});
}

// Reads a stream through a completion queue: on one thread, with a deadline, one message at a time.
template <typename Message>
class GrpcStream final : public Stream<Message> {
 public:
  template <typename Start>
  GrpcStream(const Address& address, Start start) {
    Authorize(address, &context_);
    reader_ = start(&context_, &queue_, this);
  }

  ~GrpcStream() override {
    if (phase_ != Phase::kDone) context_.TryCancel();
    while (phase_ != Phase::kDone) (void)Step(absl::InfiniteFuture());
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  StreamResult Next(absl::Duration wait, Message* message) override {
    const absl::Time deadline = absl::Now() + wait;
    while (phase_ != Phase::kDone) {
      if (phase_ == Phase::kOpen) {
        reader_->Read(&message_, this);
        phase_ = Phase::kReading;
      }
      if (!Step(deadline)) return StreamResult::kNothingYet;
      if (!have_message_) continue;
      have_message_ = false;
      *message = std::move(message_);
      return StreamResult::kMessage;
    }
    return StreamResult::kEnd;
  }

  absl::Status status() const override { return FromGrpc(status_); }

 private:
  enum class Phase { kStarting, kOpen, kReading, kFinishing, kDone };

  // Waits for the pending operation. False: the deadline passed first.
  bool Step(absl::Time deadline) {
    if (phase_ == Phase::kOpen) {
      Finish();
      return true;
    }
    void* tag = nullptr;
    bool ok = false;
    const auto until = deadline == absl::InfiniteFuture()
                           ? std::chrono::system_clock::time_point::max()
                           : absl::ToChronoTime(deadline);
    if (queue_.AsyncNext(&tag, &ok, until) != grpc::CompletionQueue::GOT_EVENT) return false;
    if (phase_ == Phase::kFinishing) {
      phase_ = Phase::kDone;
    } else if (!ok) {
      Finish();
    } else {
      have_message_ = phase_ == Phase::kReading;
      phase_ = Phase::kOpen;
    }
    return true;
  }

  void Finish() {
    reader_->Finish(&status_, this);
    phase_ = Phase::kFinishing;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReader<Message>> reader_;
  grpc::Status status_;
  Message message_;
  bool have_message_ = false;
  Phase phase_ = Phase::kStarting;
};

// The path of the call with this request type, for example "/trainerd.v1.Trainer/Pause". Each
// request type belongs to one call.
const std::string& MethodPath(const google::protobuf::Message& request) {
  static const auto* const paths = [] {
    auto* result = new std::map<const google::protobuf::Descriptor*, std::string>;
    for (const google::protobuf::ServiceDescriptor* service : ApiServices()) {
      for (int k = 0; k < service->method_count(); ++k) {
        const google::protobuf::MethodDescriptor* method = service->method(k);
        (*result)[method->input_type()] =
            absl::StrCat("/", service->full_name(), "/", method->name());
      }
    }
    return result;
  }();
  const auto found = paths->find(request.GetDescriptor());
  TRAINERD_CHECK(found != paths->end());
  return found->second;
}

}  // namespace

struct Connection::Channel {
  explicit Channel(std::shared_ptr<grpc::Channel> channel, SocketPath socket_path)
      : socket(std::move(socket_path)),
        unary(channel),
        trainer(v1::Trainer::NewStub(channel)),
        runs(v1::Runs::NewStub(channel)),
        checkpoints(v1::Checkpoints::NewStub(channel)),
        files(v1::Files::NewStub(channel)) {}

  SocketPath socket;
  grpc::GenericStub unary;
  std::unique_ptr<v1::Trainer::Stub> trainer;
  std::unique_ptr<v1::Runs::Stub> runs;
  std::unique_ptr<v1::Checkpoints::Stub> checkpoints;
  std::unique_ptr<v1::Files::Stub> files;
};

Connection::Connection(Address address) : address_(std::move(address)) {}
Connection::~Connection() = default;

absl::Status Connection::Reconnect() {
  ASSIGN_OR_RETURN(SocketPath socket, SocketPath::Open(address_.socket_path));
  std::string target = address_.host_port;
  if (!address_.socket_path.empty()) {
    RETURN_IF_ERROR(ProbeSocket(socket.path()));
    target = absl::StrCat("unix:", socket.path());
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  channel_ = std::make_unique<Channel>(
      grpc::CreateCustomChannel(target, CredentialsOf(address_), arguments), std::move(socket));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::OpenAny(const Address& address) {
  std::unique_ptr<Connection> connection(new Connection(address));
  if (absl::Status status = connection->Reconnect(); !status.ok()) {
    return absl::Status(status.code(), NoDaemonMessage(address, std::string(status.message())));
  }
  v1::ServerInfo& info = connection->server_info_;
  absl::Status status = connection->CallOnce(v1::GetServerInfoRequest(), kCallDeadline, &info);
  // A process listened a moment ago, or replied that it is starting: wait for it.
  const bool present = !address.socket_path.empty() || !Reason(status).empty();
  if (IsConnectionLost(status)) {
    if (!present) return Unreachable(address, std::string(status.message()));
    status = connection->CallUnary(v1::GetServerInfoRequest(), &info);
  }
  if (absl::IsUnauthenticated(status) && !address.token.empty()) {
    absl::Status refused = absl::UnauthenticatedError(RefusedTokenMessage(address));
    status.ForEachPayload([&](absl::string_view url, const absl::Cord& details) {
      refused.SetPayload(url, details);
    });
    return refused;
  }
  if (!status.ok() && status.code() != absl::StatusCode::kUnimplemented) return status;
  return connection;
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const Address& address) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, OpenAny(address));
  const v1::ServerInfo& info = connection->server_info();
  if (info.api_revision() >= kApiRevision) return connection;
  const std::string version = info.version().empty() ? "of unknown version" : info.version();
  return absl::FailedPreconditionError(absl::StrCat(
      "the daemon at ", address.display, " (trainerd ", version, ", API revision ",
      info.api_revision(), ") is older than this trainctl (", TRAINERD_VERSION,
      ", which needs API revision ", kApiRevision,
      "); restart the daemon with the new trainerd, or use the trainctl of its version"));
}

absl::Status Connection::CheckHealth(const Address& address) {
  Connection connection(address);
  // HealthCheckRequest{} and HealthCheckResponse{status = 1}, by messages of the same form.
  google::protobuf::Int32Value answer;
  absl::Status status = connection.Reconnect();
  if (!status.ok())
    return absl::Status(status.code(), NoDaemonMessage(address, std::string(status.message())));
  status = connection.CallMethod("/grpc.health.v1.Health/Check", google::protobuf::Empty(),
                                 kHealthDeadline, &answer);
  if (IsConnectionLost(status))
    return absl::UnavailableError(NoDaemonMessage(address, std::string(status.message())));
  RETURN_IF_ERROR(status);
  if (answer.value() == kServing) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("the daemon at ", address.display,
                                             " does not serve: it is starting or shuts down"));
}

absl::Status Connection::CallOnceWithin(absl::Duration limit, const Address& address,
                                        const google::protobuf::Message& request,
                                        google::protobuf::Message* response) {
  Connection connection(address);
  RETURN_IF_ERROR(connection.Reconnect());
  return connection.CallOnce(request, limit, response);
}

absl::Status Connection::CallOnce(const google::protobuf::Message& request, absl::Duration deadline,
                                  google::protobuf::Message* response) {
  return CallMethod(MethodPath(request), request, deadline, response);
}

absl::Status Connection::CallMethod(const std::string& path,
                                    const google::protobuf::Message& request,
                                    absl::Duration deadline, google::protobuf::Message* response) {
  grpc::ClientContext context;
  context.set_deadline(Deadline(deadline));
  Authorize(address_, &context);
  const grpc::Slice bytes(request.SerializeAsString());
  grpc::CompletionQueue queue;
  const auto call =
      channel_->unary.PrepareUnaryCall(&context, path, grpc::ByteBuffer(&bytes, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer reply;
  grpc::Status result;
  call->Finish(&reply, &result, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  absl::Status status = FromGrpc(result);
  grpc::Slice slice;
  if (status.ok()) {
    const bool parsed = reply.DumpToSingleSlice(&slice).ok() &&
                        response->ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
    if (parsed) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("the reply of the daemon at ", address_.display,
                                            " is not a valid ", response->GetTypeName()));
  }
  if (status.code() == absl::StatusCode::kDeadlineExceeded && Reason(status).empty()) {
    return absl::UnavailableError(
        absl::StrCat("the daemon at ", address_.display, " did not answer within ",
                     absl::FormatDuration(deadline), "; see the log of the daemon"));
  }
  return status;
}

absl::Status Connection::CallRepeatedly(const google::protobuf::Message& request,
                                        absl::Duration deadline,
                                        google::protobuf::Message* response) {
  const absl::Time give_up = absl::Now() + kRepeatFor;
  absl::Status status = CallOnce(request, deadline, response);
  while (IsConnectionLost(status) && absl::Now() < give_up) {
    absl::SleepFor(kRepeatPause);
    if (!Reconnect().ok()) continue;
    status = CallOnce(request, deadline, response);
  }
  if (status.code() != absl::StatusCode::kUnavailable || !Reason(status).empty()) return status;
  return Unreachable(address_, std::string(status.message()));
}

absl::Status Connection::CallUnary(const google::protobuf::Message& request,
                                   google::protobuf::Message* response) {
  return CallRepeatedly(request, kCallDeadline, response);
}

absl::Status Connection::CallUnaryOnce(const google::protobuf::Message& request,
                                       google::protobuf::Message* response) {
  return CallOnce(request, kCallDeadline, response);
}

absl::Status Connection::CallUnaryForLong(const google::protobuf::Message& request,
                                          google::protobuf::Message* response) {
  return CallRepeatedly(request, kLongCallDeadline, response);
}

absl::StatusOr<v1::SubmitJobResponse> Connection::SubmitJob(const v1::SubmitJobRequest& request) {
  v1::SubmitJobResponse response;
  const absl::Time give_up = absl::Now() + kInspectionPatience;
  while (true) {
    const absl::Status status = CallRepeatedly(
        request, request.validate_only() ? kValidateDeadline : kCallDeadline, &response);
    if (status.ok()) return response;
    if (Reason(status) != "INSPECTIONS" || absl::Now() > give_up) return status;
    absl::SleepFor(RetryDelay(status).value_or(kRepeatPause));
  }
}

absl::StatusOr<v1::Job> Connection::GetJob(const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  return Call<v1::Job>(request);
}

std::unique_ptr<Stream<v1::StreamStatusResponse>> Connection::StreamStatus(
    const v1::StreamStatusRequest& request) {
  return std::make_unique<GrpcStream<v1::StreamStatusResponse>>(
      address_, [&](grpc::ClientContext* context, grpc::CompletionQueue* queue, void* tag) {
        return channel_->trainer->AsyncStreamStatus(context, request, queue, tag);
      });
}

std::unique_ptr<Stream<v1::LogChunk>> Connection::StreamLogs(const v1::StreamLogsRequest& request) {
  return std::make_unique<GrpcStream<v1::LogChunk>>(
      address_, [&](grpc::ClientContext* context, grpc::CompletionQueue* queue, void* tag) {
        return channel_->runs->AsyncStreamLogs(context, request, queue, tag);
      });
}

std::unique_ptr<Stream<v1::FileChunk>> Connection::DownloadCheckpoint(
    const v1::DownloadCheckpointRequest& request) {
  return std::make_unique<GrpcStream<v1::FileChunk>>(
      address_, [&](grpc::ClientContext* context, grpc::CompletionQueue* queue, void* tag) {
        return channel_->checkpoints->AsyncDownloadCheckpoint(context, request, queue, tag);
      });
}

absl::StatusOr<v1::File> Connection::UploadFile(
    const std::function<absl::StatusOr<bool>(v1::UploadFileRequest*)>& next) {
  grpc::ClientContext context;
  Authorize(address_, &context);
  v1::File file;
  const auto writer = channel_->files->UploadFile(&context, &file);
  absl::Status status;
  while (true) {
    v1::UploadFileRequest message;
    const absl::StatusOr<bool> more = next(&message);
    status = more.status();
    if (!status.ok()) context.TryCancel();
    // A write fails once the daemon has answered.
    if (!more.ok() || !*more || !writer->Write(message)) break;
  }
  if (status.ok()) writer->WritesDone();
  const grpc::Status result = writer->Finish();
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(FromGrpc(result));
  return file;
}

std::string NewRequestId() {
  std::random_device random;
  std::string id;
  for (int word = 0; word < 4; ++word) absl::StrAppendFormat(&id, "%08x", random());
  return id;
}

}  // namespace trainerd::client
