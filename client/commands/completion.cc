// SPDX-License-Identifier: Apache-2.0
// The ids of jobs for `trainctl __complete`: at once, or not at all.
#include "client/commands/commands.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr absl::Duration kLimit = absl::Milliseconds(500);
constexpr int kJobs = 200;

}  // namespace

void PrintJobsForCompletion(const std::string& beginning, const Context& context) {
  const absl::StatusOr<Address> address = ResolveAddress(context.address, context.env);
  if (!address.ok()) return;
  v1::ListJobsRequest request;
  request.set_page_size(kJobs);
  v1::ListJobsResponse jobs;
  // Whoever completes a word gets no error.
  if (!Connection::CallOnceWithin(kLimit, *address, request, &jobs).ok()) return;
  for (const v1::Job& job : jobs.jobs()) {
    const std::string id = PlainText(JobId(job.name()));
    if (!id.starts_with(beginning)) continue;
    context.out() << id << "\t" << PlainText(job.config().name()) << " " << StateName(job.state())
                  << "\n";
  }
}

}  // namespace trainerd::client
