// SPDX-License-Identifier: Apache-2.0
// An event as it is stored and fanned out: serialized once, with the few facts that filters need
// beside the bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// What an event means for watchers that count jobs (until_terminal) or follow one job.
enum EventFlag : int {
  kJobCreated = 1,
  kJobEnded = 2,    // state_changed into a terminal state
  kJobDeleted = 4,  // the job's row and events are gone
};

struct EventRecord {
  int64_t seq = 0;
  // Sequence number of the first event of its change: the events of one change are delivered
  // together.
  int64_t change = 0;
  std::string job;  // jobs/{id}
  int type = 0;     // field number of Event.body
  int flags = 0;
  // Serialized v1::Event. Shared by the ring and all watchers, hence shared_ptr.
  std::shared_ptr<const std::string> bytes;
};

// Field number of the body that is set; 0 = none.
inline int EventType(const v1::Event& event) { return static_cast<int>(event.body_case()); }

}  // namespace trainerd::server
