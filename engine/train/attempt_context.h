// SPDX-License-Identifier: Apache-2.0
// The state that the stages of a job share. It is filled in from top to bottom in the order of
// run_job.h, owned by RunJob, and used by one thread.
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
#include "engine/data/source/sample_prompts.h"
#include "engine/model/adapter/adapter_folder.h"
#include "engine/model/config/model_config.h"
#include "engine/model/decoder.h"
#include "engine/model/folder/adapter.h"
#include "engine/model/folder/freeze.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/parameters.h"
#include "engine/monitor/live_monitor.h"
#include "engine/ops/preference.h"
#include "engine/optim/optimizer.h"
#include "engine/platform/run_environment.h"
#include "engine/train/reference_table.h"
#include "engine/train/sample_generator.h"
#include "trainerd/internal/worker.pb.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::engine {

// Of a job with `preference`.
struct Preference {
  PreferenceOptions options;
  ReferenceTable train, validation;
};

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
  // The checkpoint to continue from: a resume, or init_from with state full.
  std::optional<OpenedCheckpoint> start;
  // The checkpoint is this job's own, so configuration and data must be the same.
  bool start_is_resume = false;
  // OpenModel
  std::string weights_folder;  // of the model, or of the checkpoint to start from
  // With lora: lora.adapter_path, or the checkpoint to start from; "" = a new adapter.
  std::string adapter_folder;
  ModelConfig model;
  FrozenNames frozen;
  std::unique_ptr<HfFolder> weights;
  // With lora, of the model in model.path; with preference, of the model that the job started from.
  std::string model_fingerprint;
  std::optional<AdapterSpec> adapter;              // with lora
  std::unique_ptr<AdapterFolder> adapter_weights;  // of adapter_folder
  TextPipeline text;
  std::vector<SamplePrompt> prompts;
  // PrepareData
  PreparedData data;
  std::unique_ptr<DataLoader> loader;
  // LoadWeights, BuildOptimizer
  std::unique_ptr<ParameterSet> parameters;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<SampleGenerator> sample_generator;
  // BuildOptimizer: expected size of a checkpoint. If too little space for one ended the attempt:
  // WorkerExitRecord.needed_bytes.
  int64_t checkpoint_bytes = 0;
  int64_t needed_bytes = 0;
  // Restore; then updated by Train
  RunState state;  // step 0 = nothing applied yet
  std::unique_ptr<LiveMonitor> monitor;
  // Verified: first the resume point, then the last checkpoint that this attempt published.
  std::optional<v1::Checkpoint> last_checkpoint;
  // ComputeReference
  std::optional<Preference> preference;
  // Train: the steps of this attempt
  int64_t first_step = 0;
  int64_t last_step = 0;
  double last_loss = 0;
  double train_seconds = 0;
  // With evaluation.best: the best value of the job's checkpoints, and the step of the evaluation
  // that improved it last.
  std::optional<double> best_value;
  int64_t best_step = 0;
};

// Cancelled if a pause, stop or discard is requested. Stages check it between their parts; RunJob
// reads the stop mode to end the attempt accordingly.
absl::Status CheckStopRequested(const RunControl& control);
// The same for a discard only: between the microbatches of a step.
absl::Status CheckDiscard(const RunControl& control);

void EmitNotice(EventSink& events, v1::Notice::Level level, const std::string& code,
                const std::string& message);

}  // namespace trainerd::engine
