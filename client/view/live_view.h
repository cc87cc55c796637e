// SPDX-License-Identifier: Apache-2.0
// The live view as text: state, width and clock in, lines out. Pure functions; frame.h puts the
// lines on a terminal.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/view/live_state.h"

namespace trainerd::client {

struct ViewOptions {
  int columns = 80;  // no line is wider
  int rows = 24;     // no more lines; the least important go first
  bool color = false;
  bool utf8 = true;
  absl::Time now;
  std::string connection;  // what is wrong with the connection; empty = nothing
};

// One job: header, progress, loss curve, rates, validation, checkpoint, alerts, conditions, error.
std::vector<std::string> RenderJob(const LiveJob& live, const ViewOptions& options);

// Many jobs, a line each: those under way first, then the ended ones, newest first.
std::vector<std::string> RenderJobs(const LiveState& state, const ViewOptions& options);

}  // namespace trainerd::client
