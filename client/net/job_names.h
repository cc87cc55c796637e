// SPDX-License-Identifier: Apache-2.0
// The forms of JOB on the command line: jobs/ID, ID, a unique prefix of it, a display name if
// unique, or latest.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/net/connection.h"

namespace trainerd::client {

// The parent that names all jobs.
inline constexpr char kAllJobs[] = "jobs/-";

struct JobLabel {
  // jobs/{id}
  std::string name;
  // config.name
  std::string display_name;
};

// Finds the job that `text` names; `jobs` are newest first. An exact id wins. If `text` matches
// several jobs, by prefix or display name, it is refused, so that a command never affects another
// job. Errors: NotFound; InvalidArgument with the candidates if several jobs match.
absl::StatusOr<std::string> MatchJob(std::string_view text, const std::vector<JobLabel>& jobs);

// Returns jobs/{id}. Calls the daemon: once for a full id and for latest, else for each page of the
// list.
absl::StatusOr<std::string> ResolveJobName(Connection& connection, std::string_view text);

// JOB or JOB/checkpoints/ID for --from.
absl::StatusOr<std::string> ResolveJobOrCheckpoint(Connection& connection, std::string_view text);

}  // namespace trainerd::client
