// SPDX-License-Identifier: Apache-2.0
// trainctl update: changes keys of a job that the configuration reference marks as live.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/commands/commands.h"
#include "client/commands/common/control.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd::client {
namespace {

// The value that gives a key its default, or removes a label.
constexpr char kReset[] = "null";
constexpr char kLabel[] = "labels.";

void AddPath(const std::string& key, v1::UpdateJobRequest* request) {
  // A map and a list are replaced as a whole: evaluation.remote[0].name stands for the list.
  const std::string whole = absl::StartsWith(key, kLabel) ? "labels" : key.substr(0, key.find('['));
  const std::string path = absl::StrCat("config.", whole);
  for (const std::string& other : request->update_mask().paths()) {
    if (other == path) return;
  }
  request->mutable_update_mask()->add_paths(path);
}

void ResetKey(const std::string& key, v1::UpdateJobRequest* request) {
  if (absl::StartsWith(key, kLabel))
    request->mutable_job()->mutable_config()->mutable_labels()->erase(key.substr(strlen(kLabel)));
  AddPath(key, request);
}

// Adds one KEY=VALUE. Errors: InvalidArgument.
absl::Status AddChange(const std::string& change, v1::UpdateJobRequest* request) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(change, absl::MaxSplits('=', 1));
  const auto& [key, value] = parts;
  if (key.empty() || !absl::StrContains(change, '=')) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(change), " is not KEY=VALUE, for example priority=10"));
  }
  if (value == kReset) {
    ResetKey(key, request);
    return absl::OkStatus();
  }
  const YamlResult result = SetField(key, value, request->mutable_job()->mutable_config());
  RETURN_IF_ERROR(ViolationsToStatus(result.violations));
  if (key == "labels") {
    AddPath(key, request);
    return absl::OkStatus();
  }
  // Of a group (limits={max_run_time: 2h}), the keys that it gives.
  for (const std::string& given : result.given) AddPath(given, request);
  return absl::OkStatus();
}

// One label changes among those that the job has. Unless the user names an etag, that of the job
// just read guards against a change in between.
absl::Status TakeLabels(Connection& connection, const std::string& name,
                        v1::UpdateJobRequest* request) {
  ASSIGN_OR_RETURN(const v1::Job job, connection.GetJob(name));
  *request->mutable_job()->mutable_config()->mutable_labels() = job.config().labels();
  if (request->job().etag().empty()) request->mutable_job()->set_etag(job.etag());
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> Update(const UpdateOptions& options, Connection& connection,
                               const std::string& name) {
  v1::UpdateJobRequest request;
  request.mutable_job()->set_name(name);
  request.mutable_job()->set_etag(options.etag);
  request.set_request_id(NewRequestId());
  for (const std::string& change : options.changes) {
    if (!absl::StartsWith(change, kLabel)) continue;
    RETURN_IF_ERROR(TakeLabels(connection, name, &request));
    break;
  }
  for (const std::string& change : options.changes) RETURN_IF_ERROR(AddChange(change, &request));
  return connection.Call<v1::Job>(request);
}

}  // namespace

int RunUpdate(const UpdateOptions& options, const Context& context) {
  return ControlJob(options.job, context, [&](Connection& connection, const std::string& name) {
    return Update(options, connection, name);
  });
}

}  // namespace trainerd::client
