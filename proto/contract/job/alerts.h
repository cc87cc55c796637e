// SPDX-License-Identifier: Apache-2.0
// Job.alerts: the newest alert of each type. The daemon keeps the list with the job.
#pragma once

#include <cstdint>
#include <string>

#include "trainerd/v1/job.pb.h"

namespace trainerd {

// Job.alerts has at most this many entries.
inline constexpr int kMaxJobAlerts = 32;

// Adds an alert that a worker raised or cleared. A cleared alert that the job does not have is
// ignored.
void ApplyAlert(const v1::Alert& alert, v1::Job* job);

// The alerts as they were after `step`, from which a new attempt continues: without those that a
// later step raised, and with those active that a later step cleared. An alert about the speed of
// the last attempt is cleared.
void RewindAlerts(int64_t step, v1::Job* job);

// "diverged (CRITICAL) active since step 12: …", or "loss_spike (WARNING) from step 3 to 9: …".
std::string AlertText(const v1::Alert& alert);

// The types of the active alerts with the severity CRITICAL, separated by ", ".
std::string ActiveCriticalAlerts(const v1::Job& job);

}  // namespace trainerd
