// SPDX-License-Identifier: Apache-2.0
#include "server/store/names.h"

namespace trainerd::server {
namespace {

constexpr std::string_view kJobs = "jobs/";
constexpr std::string_view kCheckpoints = "/checkpoints/";

}  // namespace

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp result;
  const int64_t micros = absl::ToUnixMicros(time);
  int64_t seconds = micros / 1'000'000;
  int64_t rest = micros % 1'000'000;
  if (rest < 0) {
    rest += 1'000'000;
    --seconds;
  }
  result.set_seconds(seconds);
  result.set_nanos(static_cast<int32_t>(rest * 1000));
  return result;
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

std::string JobId(std::string_view name) {
  if (name.substr(0, kJobs.size()) == kJobs) name.remove_prefix(kJobs.size());
  return std::string(name.substr(0, name.find('/')));
}

std::string JobName(std::string_view id) { return std::string(kJobs).append(id); }

std::string CheckpointId(std::string_view name) {
  const size_t at = name.find(kCheckpoints);
  return at == name.npos ? "" : std::string(name.substr(at + kCheckpoints.size()));
}

std::string CheckpointName(std::string_view job_name, std::string_view checkpoint_id) {
  return std::string(job_name).append(kCheckpoints).append(checkpoint_id);
}

}  // namespace trainerd::server
