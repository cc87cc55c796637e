// SPDX-License-Identifier: Apache-2.0
// The daemon's API as plain calls that return absl::Status, with the google.rpc details as
// payloads. The only files of the client that use gRPC. Thread-safety: one thread per connection.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/net/address.h"
#include "trainerd/v1/file.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {

enum class StreamResult { kMessage, kNothingYet, kEnd };

// One server stream. Destroying it cancels the call.
template <typename Message>
class Stream {
 public:
  virtual ~Stream() = default;
  // Waits at most `wait` for the next message. kEnd: see status().
  virtual StreamResult Next(absl::Duration wait, Message* message) = 0;
  // Result of the stream; OK until it ends.
  virtual absl::Status status() const = 0;
};

class Connection {
 public:
  // Connects and requests the ServerInfo. Waits up to 5 s for a daemon that is starting.
  // Errors: Unavailable with how to start a daemon; FailedPrecondition if the daemon has an older
  // API revision than this client needs.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const Address& address);
  // As Open, but accepts any revision: for `version`.
  static absl::StatusOr<std::unique_ptr<Connection>> OpenAny(const Address& address);
  // What the standard health service (grpc.health.v1) answers; it needs no credentials and no
  // revision. Does not wait for a daemon that is starting. Errors: Unavailable if no daemon answers
  // or it does not serve.
  static absl::Status CheckHealth(const Address& address);
  // One call on a connection of its own, without the waits and repetitions of the others.
  static absl::Status CallOnceWithin(absl::Duration limit, const Address& address,
                                     const google::protobuf::Message& request,
                                     google::protobuf::Message* response);
  ~Connection();

  const Address& address() const { return address_; }
  const v1::ServerInfo& server_info() const { return server_info_; }

  // Opens a new channel to the same address. Errors: Unavailable while no process listens.
  absl::Status Reconnect();

  // Unary calls. If the connection breaks, a call is repeated on new connections for up to 5 s;
  // commands carry a request_id, so they take effect once. Errors: those of the daemon; Unavailable
  // if it cannot be reached or does not answer.
  // The type of the request names the call: Call<v1::Job>(pause_request).
  template <typename Response>
  absl::StatusOr<Response> Call(const google::protobuf::Message& request) {
    Response response;
    if (absl::Status status = CallUnary(request, &response); !status.ok()) return status;
    return response;
  }
  // A call that is never repeated, because a second one would have a second effect.
  template <typename Response>
  absl::StatusOr<Response> CallOnly(const google::protobuf::Message& request) {
    Response response;
    if (absl::Status status = CallUnaryOnce(request, &response); !status.ok()) return status;
    return response;
  }
  // The same for calls that read or remove files, which takes long: waits up to 24 h.
  template <typename Response>
  absl::StatusOr<Response> CallForLong(const google::protobuf::Message& request) {
    Response response;
    if (absl::Status status = CallUnaryForLong(request, &response); !status.ok()) return status;
    return response;
  }
  // Waits up to 2 min while the daemon runs as many inspections as it may.
  absl::StatusOr<v1::SubmitJobResponse> SubmitJob(const v1::SubmitJobRequest& request);
  absl::StatusOr<v1::Job> GetJob(const std::string& name);

  std::unique_ptr<Stream<v1::StreamStatusResponse>> StreamStatus(
      const v1::StreamStatusRequest& request);
  std::unique_ptr<Stream<v1::LogChunk>> StreamLogs(const v1::StreamLogsRequest& request);
  std::unique_ptr<Stream<v1::FileChunk>> DownloadCheckpoint(
      const v1::DownloadCheckpointRequest& request);
  // One UploadFile call. `next` fills in the next message and returns true, or false at the end; it
  // is called until the daemon has answered. An error of `next` cancels the call. Errors: those of
  // `next` and of the daemon.
  absl::StatusOr<v1::File> UploadFile(
      const std::function<absl::StatusOr<bool>(v1::UploadFileRequest*)>& next);

 private:
  struct Channel;
  explicit Connection(Address address);
  absl::Status CallUnary(const google::protobuf::Message& request,
                         google::protobuf::Message* response);
  absl::Status CallUnaryOnce(const google::protobuf::Message& request,
                             google::protobuf::Message* response);
  absl::Status CallUnaryForLong(const google::protobuf::Message& request,
                                google::protobuf::Message* response);
  absl::Status CallRepeatedly(const google::protobuf::Message& request, absl::Duration deadline,
                              google::protobuf::Message* response);
  absl::Status CallOnce(const google::protobuf::Message& request, absl::Duration deadline,
                        google::protobuf::Message* response);
  absl::Status CallMethod(const std::string& path, const google::protobuf::Message& request,
                          absl::Duration deadline, google::protobuf::Message* response);

  Address address_;
  v1::ServerInfo server_info_;
  std::unique_ptr<Channel> channel_;
};

// A random request id, 32 hex digits.
std::string NewRequestId();

}  // namespace trainerd::client
