// SPDX-License-Identifier: Apache-2.0
#include "server/api/access/role_rules.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/api_services.h"
#include "server/commands/request.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr v1::Role kViewer = v1::ROLE_VIEWER;
constexpr v1::Role kOperator = v1::ROLE_OPERATOR;
constexpr v1::Role kAdmin = v1::ROLE_ADMIN;
constexpr bool kOwned = true;

constexpr AccessRule kCollectOneJob = {"Checkpoints.CollectGarbage", kOperator, "parent", kOwned};
constexpr AccessRule kCollectAllJobs = {"Checkpoints.CollectGarbage", kAdmin, "parent"};
constexpr AccessRule kCollectNothing = {"Checkpoints.CollectGarbage", kViewer, "parent"};

// By the type of the request.
const std::map<const Descriptor*, const AccessRule*>& RulesByRequest() {
  static const auto& rules = *[] {
    std::map<std::string_view, const AccessRule*> by_name;
    for (const AccessRule& rule : AccessRules()) by_name[rule.method] = &rule;
    auto* result = new std::map<const Descriptor*, const AccessRule*>;
    for (const google::protobuf::ServiceDescriptor* service : ApiServices()) {
      for (int i = 0; i < service->method_count(); ++i) {
        const google::protobuf::MethodDescriptor& method = *service->method(i);
        const auto found = by_name.find(absl::StrCat(service->name(), ".", method.name()));
        if (found != by_name.end()) (*result)[method.input_type()] = found->second;
      }
    }
    return result;
  }();
  return rules;
}

}  // namespace

const std::vector<AccessRule>& AccessRules() {
  static const auto& rules = *new std::vector<AccessRule>{
      {"Trainer.SubmitJob", kOperator},
      {"Trainer.Pause", kOperator, "name", kOwned},
      {"Trainer.Resume", kOperator, "name", kOwned},
      {"Trainer.RequestCheckpoint", kOperator, "name", kOwned},
      {"Trainer.Stop", kOperator, "name", kOwned},
      {"Trainer.UpdateJob", kOperator, "job.name", kOwned},
      {"Trainer.ExplainJob", kViewer, "name"},
      {"Trainer.StreamStatus", kViewer, "parent"},
      {"Trainer.GetJob", kViewer, "name"},
      {"Trainer.ListJobs", kViewer},
      {"Trainer.DeleteJob", kOperator, "name", kOwned},
      {"Trainer.WaitJob", kViewer, "name"},
      {"Runs.StreamLogs", kViewer, "name"},
      {"Runs.ListAttempts", kViewer, "parent"},
      {"Runs.ListEvents", kViewer, "parent"},
      {"Runs.QueryMetrics", kViewer, "name"},
      {"Checkpoints.ListCheckpoints", kViewer, "parent"},
      {"Checkpoints.UpdateCheckpoint", kOperator, "checkpoint.name", kOwned},
      {"Checkpoints.VerifyCheckpoint", kOperator, "name", kOwned},
      kCollectOneJob,
      {"Checkpoints.DownloadCheckpoint", kViewer, "name"},
      {"Admin.GetServerInfo", kViewer},
      {"Admin.QueryUsage", kViewer},
      {"Admin.ListNotifications", kViewer},
      {"Admin.RetryNotification", kAdmin, "name"},
      {"Admin.Drain", kAdmin},
      {"Admin.Undrain", kAdmin},
      {"Admin.CreateToken", kAdmin},
      {"Admin.ListTokens", kAdmin},
      {"Admin.RevokeToken", kAdmin, "name"},
      {"Admin.ListAuditEntries", kAdmin},
      {"Evaluations.LeaseEvaluation", kOperator},
      {"Evaluations.RenewEvaluation", kOperator, "name"},
      {"Evaluations.ReportEvaluation", kOperator, "name"},
      {"Evaluations.ListEvaluations", kViewer, "parent"},
      {"Evaluations.RequestEvaluation", kOperator, "model", kOwned},
      {"Evaluations.CancelEvaluation", kOperator, "name", kOwned},
      {"Files.UploadFile", kOperator},
      {"Files.ListFiles", kViewer},
      {"Files.DeleteFile", kOperator, "name", kOwned},
  };
  return rules;
}

const AccessRule* RuleFor(const google::protobuf::Message& request) {
  const auto found = RulesByRequest().find(request.GetDescriptor());
  if (found == RulesByRequest().end()) return nullptr;
  if (request.GetDescriptor() != v1::CollectGarbageRequest::descriptor()) return found->second;
  const auto& collect = static_cast<const v1::CollectGarbageRequest&>(request);
  if (collect.dry_run()) return &kCollectNothing;
  return collect.parent() == kAllJobs ? &kCollectAllJobs : &kCollectOneJob;
}

std::string ResourceOf(const AccessRule& rule, const google::protobuf::Message& request) {
  if (rule.resource.empty()) return "";
  const google::protobuf::Message* message = &request;
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
