// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/queue_wait.h"

#include <algorithm>
#include <iterator>

#include "proto/base/time.h"

namespace trainerd::server {

v1::Job::WaitReason NextWait(const JobRecord& record, absl::Time now) {
  const v1::JobConfig& config = record.job.config();
  if (record.ledger.pending_dependencies_size() > 0) return v1::Job::DEPENDENCY;
  if (config.has_not_before() && now < FromProto(config.not_before())) return v1::Job::NOT_BEFORE;
  return v1::Job::RESOURCES;
}

bool MayStart(v1::Job::WaitReason reason) {
  return reason != v1::Job::HELD && reason != v1::Job::DISK && reason != v1::Job::NOT_BEFORE &&
         reason != v1::Job::DEPENDENCY;
}

bool WaitsForDevice(v1::Job::WaitReason reason) {
  return std::find(std::begin(kDeviceWaits), std::end(kDeviceWaits), reason) !=
         std::end(kDeviceWaits);
}

}  // namespace trainerd::server
