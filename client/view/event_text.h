// SPDX-License-Identifier: Apache-2.0
// An event as one line for people: what `watch` writes on a pipe and above the live view.
#pragma once

#include <string>

#include "trainerd/v1/event.pb.h"

namespace trainerd::client {

// Name of the event's body ("metrics", "state_changed" …), as in StreamStatusRequest.event_types;
// "" for none.
std::string EventKind(const v1::Event& event);

// What it says, without time and job: "step 3/100  loss 1.9310 …". No control characters.
std::string EventSummary(const v1::Event& event);

// Time, job id, attempt, kind and summary: one line without its end.
std::string EventLine(const v1::Event& event);

// True for what deserves a line of its own above a live view: everything but metrics, progress of
// stages and the steps of a checkpoint that went well.
bool IsNotable(const v1::Event& event);

}  // namespace trainerd::client
