// SPDX-License-Identifier: Apache-2.0
// What all commands share: request_id, audit, one transaction, a durable reply. A command is a
// function over RunCommand (any reply) or ChangeJob (a change of one job).
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "server/store/caller.h"
#include "server/store/rows/job_rows.h"
#include "server/store/store.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

// One call of a command. Only the first call with a request_id takes effect.
struct CommandCall {
  // Name of the RPC.
  std::string method;
  // Empty: the call is not idempotent.
  std::string request_id;
  // SHA-256 of the request without its request_id.
  std::string body_hash;
  // Who requested it, and why.
  Caller caller = "";
  std::string reason;
  // For the audit; empty: the job of the command.
  std::string resource = "";
  // The call changes something that the database does not have; it is audited too.
  bool changes_memory = false;
};

template <typename Request>
CommandCall MakeCall(const std::string& method, const Request& request, const Caller& caller);

// SHA-256 of a request without its request_id.
std::string RequestHash(const google::protobuf::Message& request);

// Copies the reply to an earlier call with this request_id into `reply`. False: this is the first
// call. Errors: of CheckRequestId; AlreadyExists with reason REQUEST_ID_REUSED when the earlier
// call was a different one.
absl::StatusOr<bool> FindEarlierReply(Connection& db, const CommandCall& call,
                                      google::protobuf::Message* reply);

// Runs `change`, which fills in `reply`, and stores the audit row (if it changed anything) and the
// reply in the same transaction. A repeated call gets the stored reply; `change` does not run
// again.
// Errors: of FindEarlierReply and of `change`; then nothing is stored.
absl::Status RunCommand(Store& store, const CommandCall& call, const std::string& job_id,
                        const std::function<absl::Status(Transaction&)>& change,
                        google::protobuf::Message* reply);

// A command that changes the job `request.name()` and replies with it and its cursor: `change` gets
// the stored job and stores it again. Errors: also InvalidArgument (name), NotFound, and Aborted
// with reason ETAG_CHANGED.
using JobChange = std::function<absl::Status(Transaction&, JobRecord*)>;
absl::StatusOr<v1::Job> ChangeJob(Store& store, const CommandCall& call, const std::string& name,
                                  const std::string& etag, const JobChange& change);

template <typename Request>
CommandCall MakeCall(const std::string& method, const Request& request, const Caller& caller) {
  return {.method = method,
          .request_id = request.request_id(),
          .body_hash = request.request_id().empty() ? "" : RequestHash(request),
          .caller = caller,
          .reason = "",
          .resource = "",
          .changes_memory = false};
}

}  // namespace trainerd::server
