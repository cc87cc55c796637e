// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/job_set.h"

#include <algorithm>
#include <array>

#include "client/net/job_names.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {

absl::StatusOr<std::vector<std::string>> ResolveJobNames(Connection& connection,
                                                         const std::vector<std::string>& texts) {
  std::vector<std::string> names;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(std::string name, ResolveJobName(connection, text));
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  }
  return names;
}

int Worse(int a, int b) {
  constexpr std::array<int, 7> kFromWorst = {kUsage,   kUnreachable, kRefused, kJobFailed,
                                             kTimeout, kJobStopped,  kDone};
  for (const int code : kFromWorst) {
    if (a == code || b == code) return code;
  }
  return a;
}

void JobDocuments::Add(const v1::Job& job) {
  if (context_.form == OutputForm::kJsonl) {
    PrintMessage(job, context_.form, context_.out());
  } else if (!IsForPeople(context_.form)) {
    *jobs_.add_jobs() = job;
  }
}

void JobDocuments::Finish() {
  if (IsForPeople(context_.form) || context_.form == OutputForm::kJsonl) return;
  if (!one_) {
    PrintMessage(jobs_, context_.form, context_.out());
  } else if (jobs_.jobs_size() == 1) {
    PrintMessage(jobs_.jobs(0), context_.form, context_.out());
  }
}

}  // namespace trainerd::client
