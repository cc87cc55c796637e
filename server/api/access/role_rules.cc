// SPDX-License-Identifier: Apache-2.0
#include "server/api/access/role_rules.h"

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/api_services.h"

namespace trainerd::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

struct MethodAccess {
  std::string method;
  const v1::CallAccess& access;
};

// By the type of the request.
const std::map<const Descriptor*, MethodAccess>& AccessByRequest() {
  static const auto& all = *[] {
    auto* result = new std::map<const Descriptor*, MethodAccess>;
    for (const google::protobuf::ServiceDescriptor* service : ApiServices()) {
      for (int i = 0; i < service->method_count(); ++i) {
        const google::protobuf::MethodDescriptor& method = *service->method(i);
        if (!method.options().HasExtension(v1::access)) continue;
        result->insert({method.input_type(),
                        {absl::StrCat(service->name(), ".", method.name()),
                         method.options().GetExtension(v1::access)}});
      }
    }
    return result;
  }();
  return all;
}

bool Matches(const v1::CallAccess::Exception& exception, const Message& request) {
  const FieldDescriptor* field = request.GetDescriptor()->FindFieldByName(exception.field());
  if (field == nullptr) return false;
  const google::protobuf::Reflection& fields = *request.GetReflection();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL)
    return exception.value() == (fields.GetBool(request, field) ? "true" : "false");
  return field->cpp_type() == FieldDescriptor::CPPTYPE_STRING &&
         fields.GetString(request, field) == exception.value();
}

}  // namespace

std::optional<AccessRule> RuleFor(const Message& request) {
  const auto found = AccessByRequest().find(request.GetDescriptor());
  if (found == AccessByRequest().end()) return std::nullopt;
  const v1::CallAccess& access = found->second.access;
  AccessRule rule = {found->second.method, access.role(), access.resource(), access.resource_type(),
                     access.owned()};
  for (const v1::CallAccess::Exception& exception : access.unless()) {
    if (!Matches(exception, request)) continue;
    rule.role = exception.role();
    rule.owned = exception.owned();
    break;
  }
  return rule;
}

std::string ResourceOf(const AccessRule& rule, const Message& request) {
  if (rule.resource.empty()) return "";
  const Message* message = &request;
  for (const std::string& name :
       std::vector<std::string>(absl::StrSplit(std::string(rule.resource), '.'))) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) return "";
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
      return message->GetReflection()->GetString(*message, field);
    message = &message->GetReflection()->GetMessage(*message, field);
  }
  return "";
}

std::string RoleName(v1::Role role) {
  return role == v1::ROLE_UNSPECIFIED ? "none" : EnumText(*v1::Role_descriptor(), role);
}

}  // namespace trainerd::server
