// SPDX-License-Identifier: Apache-2.0
#include "client/net/status_details.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace trainerd::client {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";

template <typename Detail>
std::optional<Detail> FindDetail(const absl::Status& status) {
  const auto payload =
      status.GetPayload(absl::StrCat(kTypePrefix, Detail::descriptor()->full_name()));
  if (!payload) return std::nullopt;
  Detail detail;
  if (!detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

}  // namespace

void AttachDetails(const std::string& serialized, absl::Status* status) {
  google::rpc::Status details;
  if (status->ok() || serialized.empty() || !details.ParseFromString(serialized)) return;
  for (const auto& detail : details.details())
    status->SetPayload(detail.type_url(), absl::Cord(detail.value()));
}

std::string Reason(const absl::Status& status) {
  const auto info = FindDetail<google::rpc::ErrorInfo>(status);
  return info ? info->reason() : "";
}

std::vector<ConfigViolation> FieldViolations(const absl::Status& status) {
  std::vector<ConfigViolation> violations;
  const auto bad_request = FindDetail<google::rpc::BadRequest>(status);
  if (!bad_request) return violations;
  for (const auto& field : bad_request->field_violations()) {
    violations.push_back({.path = field.field(), .message = field.description()});
  }
  return violations;
}

std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  const auto info = FindDetail<google::rpc::RetryInfo>(status);
  if (!info) return std::nullopt;
  return absl::Seconds(info->retry_delay().seconds()) +
         absl::Nanoseconds(info->retry_delay().nanos());
}

bool IsConnectionLost(const absl::Status& status) {
  // If the peer dies during a call, gRPC may return UNKNOWN ("Stream removed"), INTERNAL
  // (RST_STREAM) or CANCELLED. An error of the daemon carries a reason.
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return true;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kAborted:
      return Reason(status).empty();
    default:
      return false;
  }
}

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kDone;
    case absl::StatusCode::kInvalidArgument:
      return kUsage;
    case absl::StatusCode::kUnavailable:
      return kUnreachable;
    case absl::StatusCode::kDeadlineExceeded:
      return kTimeout;
    default:
      return kRefused;
  }
}

}  // namespace trainerd::client
