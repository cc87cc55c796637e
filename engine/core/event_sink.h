// SPDX-License-Identifier: Apache-2.0
// Where the engine's events go: the spool of an attempt, or a file of JSON lines. With RunControl,
// the engine's only interface to the outside.
#pragma once

#include "trainerd/v1/event.pb.h"

namespace trainerd::engine {

class EventSink {
 public:
  virtual ~EventSink() = default;
  // Receives the event's body; the sink fills in job, attempt and time. Never blocks on a reader.
  // When the disk is full, metrics, samples and notices may be dropped (the sink counts them and
  // reports the number in a later Notice); other events are retried. Thread-safe.
  virtual void Emit(v1::Event event) = 0;
};

}  // namespace trainerd::engine
