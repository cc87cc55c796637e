// SPDX-License-Identifier: Apache-2.0
// An event as one line of a terminal: what `watch` prints on a pipe and above the live view.
// Without control characters.
#pragma once

#include <string>

#include "trainerd/v1/event.pb.h"

namespace trainerd::client {

// The summary and the details of the event, each detail cut to 160 columns.
std::string EventContent(const v1::Event& event);

// Time, job id, attempt, kind and content: one line without its end.
std::string EventLine(const v1::Event& event);

// True for an event that gets a line of its own above a live view: all but metrics, progress of
// stages and the steps of a checkpoint that succeeds.
bool IsNotable(const v1::Event& event);

}  // namespace trainerd::client
