// SPDX-License-Identifier: Apache-2.0
// The only way to change a job's state, desired state or wait reason. Each change appends one
// StateChanged event in the same transaction, so that a replay of the events rebuilds the row.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/store/rows/job_rows.h"
#include "server/store/writer.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

struct Transition {
  v1::Job::State to;
  v1::Job::DesiredState desired_state;
  v1::Job::WaitReason wait_reason = v1::Job::WAIT_REASON_UNSPECIFIED;
  std::string reason;
  // "user", "scheduler", "reconciler" or "worker".
  std::string actor;
  // Replaces Job.error when set.
  std::optional<v1::JobError> error;
};

// Changes the record, stores it and appends the event. A job that would wait for a device waits for
// what NextWait (ledger/queue_wait.h) says. Errors: Internal for a transition that the state table
// does not have.
absl::Status ApplyTransition(Transaction& transaction, Transition transition, JobRecord* record);

// Sets or clears a condition. Returns true if it changed; the event is then appended, and the
// caller stores the record.
struct ConditionUpdate {
  std::string type;
  bool active = false;
  // Another reason of an active condition is a change too.
  bool replaces_reason = false;
  std::string reason;
  std::string message;
};
absl::StatusOr<bool> ApplyCondition(Transaction& transaction, const ConditionUpdate& update,
                                    JobRecord* record);
bool IsConditionActive(const v1::Job& job, const std::string& type);
// What a job shows that waits (DISK) for space to start.
ConditionUpdate LacksSpace(const std::string& message);
// DiskLow is active because the worker waits for space.
bool WaitsForCheckpointSpace(const v1::Job& job);
// The reason of DiskLow then.
inline constexpr char kWaitingReason[] = "WAITING";

}  // namespace trainerd::server
