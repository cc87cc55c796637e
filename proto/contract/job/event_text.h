// SPDX-License-Identifier: Apache-2.0
// Events as human-readable text: lines of `trainctl watch`, of `trainerd-worker train` and of the
// worker's log. The text comes from data and may contain control characters (plain_text.h).
#pragma once

#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"

namespace trainerd {

// Name of the event's body ("metrics", "state_changed" …), as in StreamStatusRequest.event_types;
// "" if it has none.
std::string EventKind(const v1::Event& event);

// One line without time, job and kind: "step 3/100  loss 1.9310 …".
std::string EventSummary(const v1::Event& event);

// "margin 0.31  accuracy 75 %".
std::string PreferenceText(const v1::PreferenceMetrics& metrics);

// What does not fit into the summary, one element per item: findings of the data report, failed
// checks of the masking report, prompt and answer of a sample.
std::vector<std::string> EventDetails(const v1::Event& event);

}  // namespace trainerd
