// SPDX-License-Identifier: Apache-2.0
// trainctl checkpoints label, pin, unpin, expire and verify: each changes one checkpoint.
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/commands/checkpoints/text.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/net/pages.h"
#include "client/view/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

using Change =
    std::function<absl::StatusOr<v1::Checkpoint>(Connection& connection, const std::string& name)>;

int ChangeCheckpoint(const std::string& text, const Context& context, const Change& change) {
  const absl::StatusOr<FoundJob> found = FindCheckpoint(text, context);
  if (!found.ok()) return PrintError(found.status(), context);
  const absl::StatusOr<v1::Checkpoint> changed = change(*found->connection, found->name);
  if (!changed.ok()) return PrintError(changed.status(), context);
  PrintCheckpointResult(*changed, context);
  return kDone;
}

v1::UpdateCheckpointRequest MakeUpdate(const std::string& name, const std::string& path) {
  v1::UpdateCheckpointRequest request;
  request.mutable_checkpoint()->set_name(name);
  request.mutable_update_mask()->add_paths(path);
  request.set_request_id(NewRequestId());
  return request;
}

// The checkpoint as it is now.
absl::StatusOr<v1::Checkpoint> Read(Connection& connection, const std::string& name) {
  v1::ListCheckpointsRequest request;
  request.set_parent(JobName(JobId(name)));
  std::optional<v1::Checkpoint> found;
  RETURN_IF_ERROR(ForEachPage<v1::ListCheckpointsResponse>(
      connection, request, [&](const v1::ListCheckpointsResponse& page) {
        for (const v1::Checkpoint& checkpoint : page.checkpoints()) {
          if (checkpoint.name() == name) found = checkpoint;
        }
        return !found.has_value();
      }));
  if (found.has_value()) return *std::move(found);
  return absl::NotFoundError(absl::StrCat(name,
                                          " does not exist, or was deleted; `trainctl "
                                          "checkpoints ls ",
                                          JobId(name), "` lists the checkpoints of the job"));
}

// Errors: InvalidArgument.
absl::Status ApplyLabel(const std::string& text,
                        google::protobuf::Map<std::string, std::string>* labels) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  const bool has_value = text.find('=') != std::string::npos;
  if (has_value && !parts.first.empty()) {
    (*labels)[parts.first] = parts.second;
    return absl::OkStatus();
  }
  if (!has_value && text.size() > 1 && text.back() == '-') {
    labels->erase(text.substr(0, text.size() - 1));
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      Quoted(text), " is neither KEY=VALUE nor KEY-, for example stage=final or stage-"));
}

// The etag of the labels just read guards against a change in between.
absl::StatusOr<v1::Checkpoint> Label(const std::vector<std::string>& labels, Connection& connection,
                                     const std::string& name) {
  ASSIGN_OR_RETURN(const v1::Checkpoint now, Read(connection, name));
  v1::UpdateCheckpointRequest request = MakeUpdate(name, "labels");
  request.mutable_checkpoint()->set_etag(now.etag());
  *request.mutable_checkpoint()->mutable_labels() = now.labels();
  for (const std::string& label : labels)
    RETURN_IF_ERROR(ApplyLabel(label, request.mutable_checkpoint()->mutable_labels()));
  return connection.Call<v1::Checkpoint>(request);
}

// now, never, a span from now, or an RFC 3339 time. Errors: InvalidArgument.
absl::Status SetExpiry(const std::string& when, v1::Checkpoint* checkpoint) {
  if (when == "never") return absl::OkStatus();
  absl::Time time = absl::Now();
  std::string error;
  if (when != "now" && !absl::ParseTime(absl::RFC3339_full, when, &time, &error)) {
    const absl::StatusOr<absl::Duration> span = ParseSpan(when);
    if (!span.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(when),
                       " is not now, never, a time from now such as 72h, or a time "
                       "such as 2026-12-01T22:00:00Z"));
    }
    time = absl::Now() + *span;
  }
  *checkpoint->mutable_expire_time() = ToProto(time);
  return absl::OkStatus();
}

}  // namespace

int RunCheckpointsLabel(const CheckpointLabelOptions& options, const Context& context) {
  return ChangeCheckpoint(options.checkpoint, context,
                          [&](Connection& connection, const std::string& name) {
                            return Label(options.labels, connection, name);
                          });
}

int RunCheckpointsPin(const std::string& checkpoint, bool pinned, const Context& context) {
  return ChangeCheckpoint(checkpoint, context,
                          [&](Connection& connection, const std::string& name) {
                            v1::UpdateCheckpointRequest request = MakeUpdate(name, "pinned");
                            request.mutable_checkpoint()->set_pinned(pinned);
                            return connection.Call<v1::Checkpoint>(request);
                          });
}

int RunCheckpointsExpire(const CheckpointExpireOptions& options, const Context& context) {
  return ChangeCheckpoint(
      options.checkpoint, context,
      [&](Connection& connection, const std::string& name) -> absl::StatusOr<v1::Checkpoint> {
        v1::UpdateCheckpointRequest request = MakeUpdate(name, "expire_time");
        RETURN_IF_ERROR(SetExpiry(options.when, request.mutable_checkpoint()));
        return connection.Call<v1::Checkpoint>(request);
      });
}

int RunCheckpointsVerify(const std::string& checkpoint, const Context& context) {
  return ChangeCheckpoint(checkpoint, context,
                          [&](Connection& connection, const std::string& name) {
                            v1::VerifyCheckpointRequest request;
                            request.set_name(name);
                            return connection.CallForLong<v1::Checkpoint>(request);
                          });
}

}  // namespace trainerd::client
