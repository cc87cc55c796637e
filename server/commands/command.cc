// SPDX-License-Identifier: Apache-2.0
#include "server/commands/command.h"

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/job/names.h"
#include "server/commands/request.h"
#include "server/events/cursor.h"
#include "server/store/errors.h"
#include "server/store/rows/access/audit_rows.h"
#include "server/store/rows/event_rows.h"

namespace trainerd::server {

std::string RequestHash(const google::protobuf::Message& request) {
  std::unique_ptr<google::protobuf::Message> copy(request.New());
  copy->CopyFrom(request);
  const auto* field = copy->GetDescriptor()->FindFieldByName("request_id");
  if (field != nullptr) copy->GetReflection()->ClearField(copy.get(), field);
  std::string bytes = copy->GetTypeName();
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    copy->SerializeToCodedStream(&out);
  }
  return Sha256(bytes);
}

namespace {

// A request of another principal is another request, even with the same request_id and body. The
// hash of the daemon's user is that of the body alone, as before there were others.
std::string HashOf(const CommandCall& call) {
  if (call.caller.principal == DaemonUser()) return call.body_hash;
  return Sha256(absl::StrCat(call.body_hash, call.caller.principal));
}

}  // namespace

absl::StatusOr<bool> FindEarlierReply(Connection& db, const CommandCall& call,
                                      google::protobuf::Message* reply) {
  if (call.request_id.empty()) return false;
  RETURN_IF_ERROR(CheckRequestId(call.request_id));
  ASSIGN_OR_RETURN(const std::optional<IdempotencyRow> row, FindRequest(db, call.request_id));
  if (!row.has_value()) return false;
  // A migration empties the hash of a request that was serialized in an older form.
  const bool same_body = row->body_hash.empty() || row->body_hash == HashOf(call);
  if (row->method != call.method || !same_body) {
    return ErrorWithReason(
        absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
        absl::StrCat("request_id ", Quoted(call.request_id), " was already used for a different ",
                     row->method, " request; send a new request_id"));
  }
  if (reply->ParseFromString(row->response)) return true;
  return absl::DataLossError(
      absl::StrCat("the stored reply to request_id ", Quoted(call.request_id), " does not parse"));
}

absl::Status RunCommand(Store& store, const CommandCall& call, const std::string& job_id,
                        const std::function<absl::Status(Transaction&)>& change,
                        google::protobuf::Message* reply) {
  return store.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(const bool repeated, FindEarlierReply(t.db(), call, reply));
    if (repeated) return absl::OkStatus();
    const int64_t rows_before = t.db().changed_rows();
    RETURN_IF_ERROR(change(t));
    if (t.db().changed_rows() != rows_before || call.changes_memory) {
      const std::string job = job_id.empty() ? "" : JobName(job_id);
      RETURN_IF_ERROR(StoreAudit(t.db(),
                                 {.method = call.method,
                                  .resource = call.resource.empty() ? job : call.resource,
                                  .principal = call.caller.principal,
                                  .peer = call.caller.peer,
                                  .request_id = call.request_id,
                                  .detail = call.reason},
                                 t.now()));
    }
    if (call.request_id.empty()) return absl::OkStatus();
    return StoreRequest(
        t.db(), call.request_id,
        {.method = call.method, .body_hash = HashOf(call), .response = reply->SerializeAsString()},
        t.now());
  });
}

absl::StatusOr<v1::Job> ChangeJob(Store& store, const CommandCall& call, const std::string& name,
                                  const std::string& etag, const JobChange& change) {
  ASSIGN_OR_RETURN(const std::string id, RequestedJob("name", name));
  v1::Job reply;
  RETURN_IF_ERROR(RunCommand(
      store, call, id,
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), id));
        if (!etag.empty() && etag != record.job.etag()) {
          return ErrorWithReason(
              absl::StatusCode::kAborted, "ETAG_CHANGED",
              absl::StrCat(record.job.name(), " has changed: its etag is \"", record.job.etag(),
                           "\", not ", Quoted(etag), "; read the job again"));
        }
        RETURN_IF_ERROR(change(t, &record));
        reply = std::move(record.job);
        reply.set_cursor(FormatCursor(store.database_id(), t.last_seq()));
        return absl::OkStatus();
      },
      &reply));
  return reply;
}

}  // namespace trainerd::server
