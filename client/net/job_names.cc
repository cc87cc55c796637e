// SPDX-License-Identifier: Apache-2.0
#include "client/net/job_names.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/net/pages.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr std::string_view kPrefix = "jobs/";
constexpr std::string_view kLatest = "latest";
constexpr std::string_view kCheckpoints = "/checkpoints/";
constexpr size_t kShownCandidates = 8;
constexpr int kPageSize = 500;
constexpr int kLatestPageSize = 10;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

absl::Status NoSuchJob(std::string_view text) {
  return absl::NotFoundError(
      absl::StrCat("no job matches \"", View(text),
                   "\"; `trainctl ls` lists the jobs (JOB is jobs/ID, ID, the beginning of an "
                   "ID, a display name that only one job has, or latest)"));
}

// The newest job that is not being deleted.
absl::StatusOr<std::string> LatestJob(Connection& connection) {
  v1::ListJobsRequest request;
  request.set_page_size(kLatestPageSize);
  std::string name;
  RETURN_IF_ERROR(
      ForEachPage<v1::ListJobsResponse>(connection, request, [&](const v1::ListJobsResponse& page) {
        for (const v1::Job& job : page.jobs()) {
          if (name.empty() && !job.deleting()) name = job.name();
        }
        return name.empty();
      }));
  if (!name.empty()) return name;
  return absl::NotFoundError("there are no jobs; submit one with `trainctl submit JOB.yaml`");
}

}  // namespace

absl::StatusOr<std::string> MatchJob(std::string_view text, const std::vector<JobLabel>& jobs) {
  const bool qualified = text.substr(0, kPrefix.size()) == kPrefix;
  const std::string_view id = qualified ? text.substr(kPrefix.size()) : text;
  if (id.empty()) return NoSuchJob(text);
  std::vector<const JobLabel*> matches;
  for (const JobLabel& job : jobs) {
    const std::string_view job_id = std::string_view(job.name).substr(kPrefix.size());
    if (job_id == id) return job.name;
    const bool by_name = !qualified && job.display_name == text;
    if (by_name || job_id.substr(0, id.size()) == id) matches.push_back(&job);
  }
  if (matches.empty()) return NoSuchJob(text);
  if (matches.size() == 1) return matches.front()->name;
  std::vector<std::string> shown;
  for (const JobLabel* job : matches) {
    if (shown.size() == kShownCandidates) break;
    shown.push_back(absl::StrCat(job->name, " (", job->display_name, ")"));
  }
  if (matches.size() > shown.size()) shown.push_back("…");
  return absl::InvalidArgumentError(absl::StrCat("\"", View(text), "\" matches ", matches.size(),
                                                 " jobs: ", absl::StrJoin(shown, ", "),
                                                 "; write more of the ID"));
}

absl::StatusOr<std::string> ResolveJobName(Connection& connection, std::string_view text) {
  if (text == kLatest) return LatestJob(connection);
  const std::string_view id =
      text.substr(0, kPrefix.size()) == kPrefix ? text.substr(kPrefix.size()) : text;
  if (IsJobId(id)) {
    absl::StatusOr<v1::Job> job = connection.GetJob(absl::StrCat(View(kPrefix), View(id)));
    if (job.ok()) return job->name();
    if (job.status().code() != absl::StatusCode::kNotFound) return job.status();
  }
  std::vector<JobLabel> jobs;
  v1::ListJobsRequest request;
  request.set_page_size(kPageSize);
  RETURN_IF_ERROR(
      ForEachPage<v1::ListJobsResponse>(connection, request, [&](const v1::ListJobsResponse& page) {
        for (const v1::Job& job : page.jobs()) jobs.push_back({job.name(), job.config().name()});
        return true;
      }));
  return MatchJob(text, jobs);
}

absl::StatusOr<std::string> ResolveJobOrCheckpoint(Connection& connection, std::string_view text) {
  const size_t cut = text.find(kCheckpoints);
  const std::string_view checkpoint =
      cut == std::string_view::npos ? std::string_view() : text.substr(cut);
  ASSIGN_OR_RETURN(const std::string job, ResolveJobName(connection, text.substr(0, cut)));
  return absl::StrCat(job, View(checkpoint));
}

}  // namespace trainerd::client
