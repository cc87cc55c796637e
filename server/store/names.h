// SPDX-License-Identifier: Apache-2.0
// Resource names as the daemon stores them.
// jobs/{job_id} and jobs/{job_id}/checkpoints/{checkpoint_id}; the database keeps the bare ids.
#pragma once

#include <string>
#include <string_view>

namespace trainerd::server {

// "jobs/ID" or "ID" → "ID"; "jobs/ID/checkpoints/X" → "ID".
std::string JobId(std::string_view name);
std::string JobName(std::string_view id);
// "jobs/ID/checkpoints/X" → "X"; "" when there is no such part.
std::string CheckpointId(std::string_view name);
std::string CheckpointName(std::string_view job_name, std::string_view checkpoint_id);

}  // namespace trainerd::server
