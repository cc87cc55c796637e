// SPDX-License-Identifier: Apache-2.0
#include "server/store/errors.h"

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "proto/base/time.h"

namespace trainerd::server {
namespace {

void SetDetail(const google::protobuf::Message& detail, absl::Status* status) {
  status->SetPayload(absl::StrCat("type.googleapis.com/", detail.GetTypeName()),
                     absl::Cord(detail.SerializeAsString()));
}

}  // namespace

absl::Status ErrorWithReason(absl::StatusCode code, const std::string& reason,
                             const std::string& message,
                             const std::map<std::string, std::string>& metadata) {
  google::rpc::ErrorInfo info;
  info.set_domain("trainerd");
  info.set_reason(reason);
  info.mutable_metadata()->insert(metadata.begin(), metadata.end());
  absl::Status status(code, message);
  SetDetail(info, &status);
  return status;
}

absl::Status WithReason(absl::Status status, const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_domain("trainerd");
  info.set_reason(reason);
  SetDetail(info, &status);
  return status;
}

absl::Status WithRetry(absl::Status status, absl::Duration delay) {
  google::rpc::RetryInfo info;
  *info.mutable_retry_delay() = ToProto(absl::Ceil(delay, absl::Seconds(1)));
  SetDetail(info, &status);
  return status;
}

absl::Status BadField(const std::string& field, const std::string& message) {
  google::rpc::BadRequest request;
  auto* violation = request.add_field_violations();
  violation->set_field(field);
  violation->set_description(message);
  absl::Status status = absl::InvalidArgumentError(absl::StrCat(field, ": ", message));
  SetDetail(request, &status);
  return status;
}

}  // namespace trainerd::server
