// SPDX-License-Identifier: Apache-2.0
// Counts what a job uses: waiting time with each transition, the rest with the events of its
// attempts. The sums are in Job.usage; what is needed to continue them is in JobRecord.usage.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/store/rows/job_rows.h"
#include "server/store/writer.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// The pure functions change the record without storing it. `steady_now`: Store::SteadyNow.

// The job goes to `to` with this wait reason: counts the wait that ends, begins the one that
// begins, and the age of its priority. Pure.
void CountWait(v1::Job::State to, v1::Job::WaitReason wait, absl::Time steady_now,
               JobRecord* record);

// An attempt has begun; it holds `job.devices`. Pure.
void BeginAttemptUsage(absl::Time steady_now, JobRecord* record);
// Counts the devices' time up to now. Nothing without an attempt. Pure.
void CountDeviceTime(absl::Time steady_now, JobRecord* record);
// Counts stage, checkpoint, step and tokens of an event of the worker. Pure.
void CountEvent(const v1::Event& event, JobRecord* record);
// The attempt has ended, and no checkpoint holds its last `lost_steps`. After a restart of the
// machine the time since its last event is not known, and not counted. Pure.
void EndAttemptUsage(absl::Time steady_now, bool machine_restarted, int64_t lost_steps,
                     JobRecord* record);

// Stores what was counted since the last call as the usage of `day` (UsageDay). The caller stores
// the record.
absl::Status KeepUsage(Transaction& transaction, int64_t day, JobRecord* record);

}  // namespace trainerd::server
