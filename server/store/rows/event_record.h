// SPDX-License-Identifier: Apache-2.0
// An event as it is stored and fanned out: serialized once, with the fields that filters need.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// The meaning of an event for watchers that count jobs (until_terminal) or follow one job.
enum EventFlag : int {
  kJobCreated = 1,
  // state_changed to a terminal state.
  kJobEnded = 2,
  // The job's rows and events were deleted.
  kJobDeleted = 4,
  // job_updated with config.labels, of a job that has not ended and of any job.
  kJobOpen = 8,
  kLabelsChanged = 16,
};

struct EventRecord {
  int64_t seq = 0;
  // Sequence number of the first event of its change. The events of one change are delivered
  // together.
  int64_t change = 0;
  // jobs/{id}; empty: of the daemon itself.
  std::string job;
  // Field number of Event.body.
  int type = 0;
  int flags = 0;
  // Serialized v1::Event. shared_ptr: shared by the log and all watchers.
  std::shared_ptr<const std::string> bytes;
};

// Field number of the body that is set; 0 = none.
inline int EventType(const v1::Event& event) { return static_cast<int>(event.body_case()); }

}  // namespace trainerd::server
