// SPDX-License-Identifier: Apache-2.0
// Who may call what: one rule per RPC, as trainer.proto states it under "Who may call". A test
// compares the table with the descriptors of the services.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/message.h"
#include "trainerd/v1/role.pb.h"

namespace trainerd::server {

struct AccessRule {
  // "Trainer.Pause"
  std::string_view method;
  // The least role.
  v1::Role role;
  // Path of the field that names what the call is about, for example "job.name"; empty: nothing.
  std::string_view resource = "";
  // An operator may call it for what it owns.
  bool owned = false;
};

const std::vector<AccessRule>& AccessRules();

// The rule of the call with this request. Each request type belongs to one call; CollectGarbage
// needs another role for other values. Null: there is none, and nobody may call.
const AccessRule* RuleFor(const google::protobuf::Message& request);

// The name that the request has in the field rule.resource.
std::string ResourceOf(const AccessRule& rule, const google::protobuf::Message& request);

// "viewer"
std::string RoleName(v1::Role role);

}  // namespace trainerd::server
