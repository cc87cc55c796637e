// SPDX-License-Identifier: Apache-2.0
// One job from configuration to weights: the list of stages. Start reading the engine here.
//
//   CheckRunIdentity → OpenModel → PrepareData → CheckMasking → LoadWeights → BuildOptimizer →
//   Restore → ComputeReference (with preference) → Train → SaveFinal
//
// The engine's only interfaces to the outside are EventSink and RunControl. The result is a
// function of (configuration, data, seed): a resumed job ends with the same bytes as an
// uninterrupted one on the same build, CPU model and thread count. One rank is built.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/core/event_sink.h"
#include "engine/core/run_control.h"
#include "engine/core/run_options.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::engine {

// Runs the attempt until it is completed, paused, stopped, discarded or failed, and returns its
// exit record, which the caller writes. A failure is a record with `end` FAILED and the error as
// data, never an exception.
internal::WorkerExitRecord RunJob(const internal::AttemptSpec& spec, EventSink& events,
                                  RunControl& control, const RunOptions& options = {});

}  // namespace trainerd::engine
