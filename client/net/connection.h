// SPDX-License-Identifier: Apache-2.0
// The daemon's API as plain calls with absl::Status (google.rpc details attached as payloads). The
// only file pair of the client that knows gRPC. A connection is used by one thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/net/address.h"
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
  // How the stream ended; OK before that.
  virtual absl::Status status() const = 0;
};

class Connection {
 public:
  // Connects and asks what the daemon is. Waits up to 5 s for a daemon that is starting.
  // Errors: Unavailable with how to start a daemon; FailedPrecondition when it is older than this
  // client needs.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const Address& address);
  // As Open, without the check of the revision: for `version`.
  static absl::StatusOr<std::unique_ptr<Connection>> OpenAny(const Address& address);
  ~Connection();

  const Address& address() const { return address_; }
  const v1::ServerInfo& server_info() const { return server_info_; }

  // A fresh channel to the same address. Errors: Unavailable while nobody listens.
  absl::Status Reconnect();

  // Unary calls. A call whose connection breaks is repeated for up to 5 s on new connections: reads
  // always, commands because each carries a request_id. Errors: the daemon's; Unavailable when it
  // cannot be reached or does not answer.
  absl::StatusOr<v1::SubmitJobResponse> SubmitJob(const v1::SubmitJobRequest& request);
  absl::StatusOr<v1::Job> Pause(const v1::PauseRequest& request);
  absl::StatusOr<v1::Job> Resume(const v1::ResumeRequest& request);
  absl::StatusOr<v1::Job> Stop(const v1::StopRequest& request);
  absl::StatusOr<v1::Job> GetJob(const std::string& name);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::Job> DeleteJob(const v1::DeleteJobRequest& request);
  absl::StatusOr<v1::ListAttemptsResponse> ListAttempts(const v1::ListAttemptsRequest& request);
  absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(
      const v1::ListCheckpointsRequest& request);
  absl::StatusOr<v1::ServerInfo> GetServerInfo();

  std::unique_ptr<Stream<v1::StreamStatusResponse>> StreamStatus(
      const v1::StreamStatusRequest& request);
  std::unique_ptr<Stream<v1::LogChunk>> StreamLogs(const v1::StreamLogsRequest& request);

 private:
  struct Channel;
  explicit Connection(Address address);
  template <typename Response, typename Call>
  absl::StatusOr<Response> Repeat(absl::Duration deadline, Call call);
  template <typename Response, typename Call>
  absl::StatusOr<Response> Once(absl::Duration deadline, Call call);

  Address address_;
  v1::ServerInfo server_info_;
  std::unique_ptr<Channel> channel_;
};

// A random request id, 32 hex digits.
std::string NewRequestId();

}  // namespace trainerd::client
