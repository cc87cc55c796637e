// SPDX-License-Identifier: Apache-2.0
#include "server/api/status.h"

#include <string>

#include "google/rpc/status.pb.h"

namespace trainerd::server {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    auto* any = details.add_details();
    any->set_type_url(std::string(url));
    any->set_value(std::string(payload));
  });
  const std::string bytes = details.details_size() > 0 ? details.SerializeAsString() : "";
  // The codes of both are the same numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), details.message(), bytes);
}

}  // namespace trainerd::server
