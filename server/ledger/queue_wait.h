// SPDX-License-Identifier: Apache-2.0
// What a queued job waits for before it may have a device.
#pragma once

#include "absl/time/time.h"
#include "server/store/rows/job_rows.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

// The first wait of a job without a device that is not over: DEPENDENCY, then NOT_BEFORE, then
// RESOURCES. `now` is the time of the system's clock, which config.not_before follows: it names a
// time of day. Pure.
v1::Job::WaitReason NextWait(const JobRecord& record, absl::Time now);

// Whether only a device is missing: the job waits for one, lost the one that it had, or must not
// have one yet because of a quota or a drain.
bool WaitsForDevice(v1::Job::WaitReason reason);
// These reasons.
inline constexpr v1::Job::WaitReason kDeviceWaits[] = {v1::Job::RESOURCES, v1::Job::PREEMPTED,
                                                       v1::Job::QUOTA, v1::Job::DRAIN};

// Whether a job with this reason may start as soon as a device is free and its delay is over. The
// queue (store/rows/job_rows.h) leaves out the others.
bool MayStart(v1::Job::WaitReason reason);

}  // namespace trainerd::server
