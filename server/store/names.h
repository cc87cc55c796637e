// SPDX-License-Identifier: Apache-2.0
// Resource names and times as the daemon stores them.
// jobs/{job_id} and jobs/{job_id}/checkpoints/{checkpoint_id}; the database keeps the bare ids.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace trainerd::server {

google::protobuf::Timestamp ToProto(absl::Time time);
absl::Time FromProto(const google::protobuf::Timestamp& time);
absl::Duration FromProto(const google::protobuf::Duration& duration);

// "jobs/ID" or "ID" → "ID"; "jobs/ID/checkpoints/X" → "ID".
std::string JobId(std::string_view name);
std::string JobName(std::string_view id);
// "jobs/ID/checkpoints/X" → "X"; "" when there is no such part.
std::string CheckpointId(std::string_view name);
std::string CheckpointName(std::string_view job_name, std::string_view checkpoint_id);

}  // namespace trainerd::server
