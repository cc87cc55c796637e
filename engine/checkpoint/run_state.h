// SPDX-License-Identifier: Apache-2.0
// state.json of a checkpoint: all state besides weights and optimizer state. The data order and all
// random numbers are functions of (seed, step), so that their state is a few numbers.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/monitor/step_measurement.h"
#include "engine/platform/run_environment.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Position of the next step in the data, for human readers; a resume computes it from `step`.
struct DataCursor {
  int64_t epoch = 0;
  int64_t first_row = 0;
};

struct RunState {
  int64_t step = 0;  // applied optimizer steps
  int64_t total_steps = 0;
  double epoch = 0;
  // Trained on in steps 1 … step.
  int64_t tokens = 0;
  int64_t target_tokens = 0;
  DataCursor next;
  // Last step with a validation and with samples; -1 = never. A resume at that step does not repeat
  // them. A resume at a later step where they are due runs them first.
  int64_t evaluated_step = -1;
  int64_t sampled_step = -1;
  v1::ResolvedJobConfig config;
  std::string data_fingerprint;  // 16 bytes
  // HfFolder::Fingerprint: with lora of the model in model.path, else with preference of the model
  // that the job started from; else "".
  std::string model_fingerprint;
  RunEnvironment environment;
  MonitorState monitor;
};

inline constexpr char kStateName[] = "state.json";

std::string RunStateToJson(const RunState& state);
// Errors: DataLoss that names the missing or mistyped field; FailedPrecondition for a newer format.
absl::StatusOr<RunState> ParseRunState(const std::string& json);

}  // namespace trainerd::engine
