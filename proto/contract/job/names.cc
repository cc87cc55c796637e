// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/names.h"

namespace trainerd {
namespace {

constexpr std::string_view kJobs = "jobs/";
constexpr std::string_view kCheckpoints = "/checkpoints/";

}  // namespace

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

}  // namespace trainerd
