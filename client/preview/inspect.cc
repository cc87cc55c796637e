// SPDX-License-Identifier: Apache-2.0
#include "client/preview/inspect.h"

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/yaml_to_proto.h"

namespace trainerd::client {

absl::StatusOr<ProcessResult> RunInspect(const Environment& env,
                                         const std::vector<std::string>& arguments) {
  absl::StatusOr<ProcessResult> result = RunProgram(env.inspect_path, arguments);
  if (!result.ok() && result.status().code() == absl::StatusCode::kNotFound) {
    return absl::NotFoundError(
        absl::StrCat("trainerd-inspect is not at ", env.inspect_path,
                     "; install it beside trainctl, or set TRAINERD_INSPECT to its path"));
  }
  return result;
}

absl::StatusOr<InspectJob> InspectJob::Create(const JobFile& job, bool changed) {
  InspectJob result;
  result.path_ = job.absolute_path;
  if (changed) {
    ASSIGN_OR_RETURN(TemporaryFile file, TemporaryFile::Create(MessageToYaml(job.config), ".yaml"));
    result.temporary_.emplace(std::move(file));
    result.path_ = result.temporary_->path();
  }
  return result;
}

}  // namespace trainerd::client
