// SPDX-License-Identifier: Apache-2.0
// Commands that take several jobs: their names, the worst of their exit codes, and one document for
// all of them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/commands/common/context.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {

// jobs/{id} of each JOB, in the order given, without repetitions. Errors: those of ResolveJobName;
// one unknown job is an error of the whole command, so that it takes effect on all jobs or on none.
absl::StatusOr<std::vector<std::string>> ResolveJobNames(Connection& connection,
                                                         const std::vector<std::string>& texts);

// The worse of two exit codes, from worst to best: 2 usage, 5 no daemon, 6 refused, 1 failed,
// 4 timeout, 3 stopped, 0 done.
int Worse(int a, int b);

// Collects the jobs that a command prints as documents. `one` = the command names one job: the
// document is the job itself, else {"jobs": […]}. With -o jsonl each job is printed at once.
class JobDocuments {
 public:
  JobDocuments(const Context& context, bool one) : context_(context), one_(one) {}
  void Add(const v1::Job& job);
  // Prints the document of -o json and -o yaml.
  void Finish();

 private:
  const Context& context_;
  const bool one_;
  v1::ListJobsResponse jobs_;
};

}  // namespace trainerd::client
