// SPDX-License-Identifier: Apache-2.0
// What a user may write for JOB: jobs/ID, ID, a unique prefix of it, a display name if unique, or
// latest.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/net/connection.h"

namespace trainerd::client {

// A job as far as its name is concerned.
struct JobLabel {
  std::string name;          // jobs/{id}
  std::string display_name;  // config.name
};

// Picks the job that `text` means; `jobs` are newest first. An exact id wins; a text that is a
// prefix of some ids and the display name of others is refused, for a command must not hit a job
// that was not meant. Errors: NotFound; InvalidArgument with the candidates when several match.
absl::StatusOr<std::string> MatchJob(std::string_view text, const std::vector<JobLabel>& jobs);

// Asks the daemon: one call for a full id and for latest, else all pages of the list. Gives
// jobs/{id}.
absl::StatusOr<std::string> ResolveJobName(Connection& connection, std::string_view text);

// JOB or JOB/checkpoints/ID for --from.
absl::StatusOr<std::string> ResolveJobOrCheckpoint(Connection& connection, std::string_view text);

}  // namespace trainerd::client
