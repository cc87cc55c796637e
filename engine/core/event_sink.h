// SPDX-License-Identifier: Apache-2.0
// Where the engine's events go: the spool of an attempt, or a file of JSON lines. Half of the
// engine's outside world (the other is RunControl).
#pragma once

#include "trainerd/v1/event.pb.h"

namespace trainerd::engine {

class EventSink {
 public:
  virtual ~EventSink() = default;
  // Takes the event's body; the sink fills in job, attempt and time. Never blocks on a reader.
  // Metrics, samples and notices may be dropped when the disk is full (the sink counts them and
  // says so in a later Notice); everything else is retried. Thread-safe.
  virtual void Emit(v1::Event event) = 0;
};

}  // namespace trainerd::engine
