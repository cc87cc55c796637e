// SPDX-License-Identifier: Apache-2.0
// What the stages of a job hand to each other: filled from top to bottom in the order of run_job.h,
// owned by RunJob, used by one thread.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/run_state.h"
#include "engine/core/event_sink.h"
#include "engine/core/run_control.h"
#include "engine/core/run_options.h"
#include "engine/data/batches/data_loader.h"
#include "engine/data/prepare.h"
#include "engine/model/decoder.h"
#include "engine/model/hf_folder.h"
#include "engine/model/model_config.h"
#include "engine/model/parameters.h"
#include "engine/monitor/live_monitor.h"
#include "engine/optim/adamw.h"
#include "engine/platform/run_environment.h"
#include "engine/train/sample_generator.h"
#include "trainerd/internal/worker.pb.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::engine {

struct AttemptContext {
  AttemptContext(const internal::AttemptSpec& attempt, EventSink& sink, RunControl& stop_mode,
                 RunOptions surroundings = {})
      : spec(attempt),
        config(attempt.config().config()),
        events(sink),
        control(stop_mode),
        options(std::move(surroundings)) {}

  // The attempt.
  const internal::AttemptSpec& spec;
  const v1::JobConfig& config;
  EventSink& events;
  RunControl& control;
  const RunOptions options;

  // CheckRunIdentity
  c10::Device device{c10::kCPU};
  RunEnvironment environment;
  std::optional<OpenedCheckpoint>
      start;                     // continue from here: resume, or init_from with state full
  bool start_is_resume = false;  // of this job itself: configuration and data must be the same
  // OpenModel
  std::string weights_folder;  // the model's, or the checkpoint's that the run starts from
  ModelConfig model;
  std::unique_ptr<HfFolder> weights;
  TextPipeline text;
  std::vector<SamplePrompt> prompts;
  // PrepareData
  PreparedData data;
  std::unique_ptr<DataLoader> loader;
  // LoadWeights, BuildOptimizer
  std::unique_ptr<ParameterSet> parameters;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<SampleGenerator> sample_generator;
  // Restore; then kept up to date by Train
  RunState state;  // step 0 = nothing applied yet
  std::unique_ptr<LiveMonitor> monitor;
  std::optional<v1::Checkpoint>
      last_checkpoint;  // verified: the resume point at its start, then what this attempt published
  // Train: what this attempt did
  int64_t first_step = 0;
  int64_t last_step = 0;
  double last_loss = 0;
  double train_seconds = 0;
};

// Cancelled when a pause, a stop or a discard is wanted. Stages return it between their parts;
// RunJob reads the control to see how to end.
absl::Status CheckStopRequested(const RunControl& control);
// The same for a discard only: between the microbatches of a step.
absl::Status CheckDiscard(const RunControl& control);

void EmitNotice(EventSink& events, v1::Notice::Level level, const std::string& code,
                const std::string& message);

}  // namespace trainerd::engine
