// SPDX-License-Identifier: Apache-2.0
// Resource names of the API: jobs/{job_id} and jobs/{job_id}/checkpoints/{checkpoint_id}.
#pragma once

#include <string>
#include <string_view>

namespace trainerd {

// "jobs/ID" or "ID" → "ID"; "jobs/ID/checkpoints/X" → "ID".
std::string JobId(std::string_view name);
std::string JobName(std::string_view id);
// "jobs/ID/checkpoints/X" → "X"; "" if the name has no such part.
std::string CheckpointId(std::string_view name);
std::string CheckpointName(std::string_view job_name, std::string_view checkpoint_id);

}  // namespace trainerd
