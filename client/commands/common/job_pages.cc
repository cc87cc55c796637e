// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/job_pages.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/label_selector.h"

namespace trainerd::client {
namespace {

constexpr int kPageSize = 500;

}  // namespace

absl::StatusOr<v1::ListJobsResponse> ListAllJobs(Connection& connection,
                                                 v1::ListJobsRequest request, int limit) {
  v1::ListJobsResponse all;
  do {
    const int left = limit - all.jobs_size();
    request.set_page_size(limit > 0 ? std::min(left, kPageSize) : kPageSize);
    ASSIGN_OR_RETURN(const v1::ListJobsResponse page,
                     connection.Call<v1::ListJobsResponse>(request));
    if (all.cursor().empty()) all.set_cursor(page.cursor());
    all.mutable_jobs()->MergeFrom(page.jobs());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && (limit == 0 || all.jobs_size() < limit));
  return all;
}

std::string GroupSelector(std::string_view group) {
  return absl::StrCat("group = ", LabelValueText(group));
}

std::string JoinSelectors(const std::string& a, const std::string& b) {
  return absl::StrCat(a, a.empty() || b.empty() ? "" : ", ", b);
}

}  // namespace trainerd::client
