// SPDX-License-Identifier: Apache-2.0
// Who may call what: the option (access) of the RPCs, by their requests. trainerd/v1/access.proto
// has its meaning.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "google/protobuf/message.h"
#include "trainerd/v1/access.pb.h"

namespace trainerd::server {

// The views are valid for the life of the program.
struct AccessRule {
  // "Trainer.Pause"
  std::string_view method = "";
  v1::Role role = v1::ROLE_ADMIN;
  std::string_view resource = "";
  v1::CallAccess::ResourceType resource_type = v1::CallAccess::RESOURCE_TYPE_UNSPECIFIED;
  bool owned = false;
};

// The rule of the call with this request, each of whose types belongs to one call. nullopt: there
// is none, and nobody may call.
std::optional<AccessRule> RuleFor(const google::protobuf::Message& request);

// The name that the request has in the field rule.resource.
std::string ResourceOf(const AccessRule& rule, const google::protobuf::Message& request);

// "viewer"
std::string RoleName(v1::Role role);

}  // namespace trainerd::server
