// SPDX-License-Identifier: Apache-2.0
// ListJobs: filters, order and pages.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/contract/config/label_selector.h"
#include "server/commands/queries/job_search.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// `aging`: SchedulingConfig.priority_aging, for the order of the queue.
absl::StatusOr<v1::ListJobsResponse> ListJobs(Store& store, absl::Duration aging,
                                              const v1::ListJobsRequest& request);

// Errors: InvalidArgument for the field label_selector.
absl::StatusOr<LabelSelector> RequestedSelector(const std::string& text);

struct JobPage {
  std::vector<v1::Job> jobs;
  JobPosition last;
  // There are further ones after `last`.
  bool more = false;
  // Of the transaction that read the page.
  std::string cursor;
};
// At most `size` jobs of the query, each with `cursor`; empty: that of the page.
absl::StatusOr<JobPage> ReadJobPage(Store& store, JobQuery query, int size,
                                    const std::string& cursor = "");

}  // namespace trainerd::server
