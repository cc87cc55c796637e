// SPDX-License-Identifier: Apache-2.0
#include "engine/run_job.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/core/job_error.h"
#include "engine/data/masking_check.h"
#include "engine/platform/torch_status.h"
#include "engine/train/attempt_context.h"
#include "engine/train/loop/train_loop.h"
#include "engine/train/stages/final_model.h"
#include "engine/train/stages/run_identity.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kProgressInterval = std::chrono::milliseconds(250);

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

absl::Status OpenModel(AttemptContext& context) {
  const std::string& folder = context.config.model().path();
  ASSIGN_OR_RETURN(context.model, ReadModelConfig(folder));
  ASSIGN_OR_RETURN(context.weights, HfFolder::Open(context.weights_folder));
  RETURN_IF_ERROR(context.weights->CheckComplete(context.model));
  ASSIGN_OR_RETURN(context.text, OpenTextPipeline(context.config));
  if (context.config.samples().prompts().empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(context.prompts, ReadSamplePrompts(context.config.samples().prompts(),
                                                      context.config.data().system_prompt()));
  ASSIGN_OR_RETURN(
      context.sample_generator,
      SampleGenerator::Create(
          folder, *context.text.tokenizer, *context.text.chat_template,
          {.now = context.config.data().now(),
           .control_tokens_as_text = context.config.data().control_tokens() == "as_text"}));
  return absl::OkStatus();
}

// A tokenizer may know more tokens than the model has rows for; only tokens that occur matter.
absl::Status CheckTokenRange(const AttemptContext& context) {
  const internal::TokenSetSummary& summary = context.data.store->summary();
  if (std::max(summary.train().largest_id(), summary.validation().largest_id()) <
      context.model.vocab_size) {
    return absl::OkStatus();
  }
  for (const std::vector<uint32_t>* examples : {&context.data.train, &context.data.validation}) {
    for (const uint32_t number : *examples) {
      ASSIGN_OR_RETURN(const TokenExample example, context.data.store->Read(number));
      const auto largest = std::max_element(example.ids.begin(), example.ids.end());
      if (largest == example.ids.end() || *largest < context.model.vocab_size) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("conversation ", example.index, " (from 0) holds token ", *largest,
                       ", but the model has only ", context.model.vocab_size,
                       " rows of embedding: tokenizer and model of ", context.config.model().path(),
                       " do not belong together"));
    }
  }
  return absl::OkStatus();
}

void EmitProgress(AttemptContext& context, double fraction) {
  v1::Event event;
  event.mutable_stage()->set_stage("PrepareData");
  event.mutable_stage()->set_fraction(fraction);
  context.events.Emit(std::move(event));
}

absl::Status PrepareTheData(AttemptContext& context) {
  Clock::time_point said = Clock::now();
  const PrepareProgress progress = [&](double fraction) {
    if (Clock::now() - said >= kProgressInterval) {
      said = Clock::now();
      EmitProgress(context, fraction);
    }
    return CheckStopRequested(context.control);
  };
  ASSIGN_OR_RETURN(context.data, PrepareData(context.config, context.text, progress,
                                             {.num_threads = context.spec.cpu_threads(),
                                              .cache_folder = context.options.cache_folder,
                                              .scratch_folder = context.spec.run_dir()}));
  for (const std::string& note : context.data.notes) {
    EmitNotice(context.events, v1::Notice::WARNING, "TOKEN_CACHE", note);
  }
  if (context.data.from_cache) {
    EmitNotice(context.events, v1::Notice::INFO, "TOKEN_CACHE",
               "the token rows were made before and are read from the cache");
  }
  RETURN_IF_ERROR(CheckTokenRange(context));
  context.loader = std::make_unique<DataLoader>(*context.data.store, context.data.train_sequences,
                                                LoaderOptions(context.config));
  context.data.report.set_total_steps(context.loader->total_steps());
  v1::Event event;
  *event.mutable_data_report() = context.data.report;
  context.events.Emit(std::move(event));
  return CheckDataIdentity(context);
}

absl::Status CheckTheMasking(AttemptContext& context) {
  ASSIGN_OR_RETURN(const v1::MaskingReport report,
                   CheckMasking(context.data, context.config, *context.text.tokenizer));
  v1::Event event;
  *event.mutable_masking_report() = report;
  context.events.Emit(std::move(event));
  return MaskingStatus(report);
}

absl::Status LoadWeights(AttemptContext& context) {
  const Precision precision =
      context.config.train().precision() == "bf16" ? Precision::kBf16 : Precision::kFp32;
  ASSIGN_OR_RETURN(context.parameters,
                   ParameterSet::Create(context.model, precision, context.device));
  RETURN_IF_ERROR(context.parameters->Load(*context.weights));
  context.weights.reset();
  return CatchTorch(
      [&] { context.decoder = std::make_unique<Decoder>(context.model, *context.parameters); });
}

absl::Status BuildOptimizer(AttemptContext& context) {
  const v1::OptimizerConfig& config = context.config.optimizer();
  if (config.betas_size() != 2)
    return absl::InvalidArgumentError("optimizer.betas must hold two values");
  const AdamW::Options options{.beta1 = config.betas(0),
                               .beta2 = config.betas(1),
                               .eps = config.eps(),
                               .weight_decay = config.weight_decay(),
                               .decay_norms = config.decay_norms()};
  return CatchTorch(
      [&] { context.optimizer = std::make_unique<AdamW>(*context.parameters, options); });
}

absl::Status Restore(AttemptContext& context) {
  if (context.start.has_value()) {
    RETURN_IF_ERROR(
        ReadOptimizerFile(context.start->folder, *context.parameters, *context.optimizer));
    context.state = context.start->state;
    // Due again when the run has become longer or shorter: its end is another one.
    if (context.state.total_steps != context.loader->total_steps() &&
        context.state.step >= context.loader->total_steps()) {
      context.state.evaluated_step = context.state.sampled_step = -1;
    }
  }
  context.state.total_steps = context.loader->total_steps();
  context.state.config = context.spec.config();
  context.state.data_fingerprint = context.data.report.fingerprint();
  context.state.environment = context.environment;
  context.monitor = std::make_unique<LiveMonitor>(LiveMonitor::Options{
      .total_steps = context.state.total_steps, .state = context.state.monitor});
  return absl::OkStatus();
}

struct Stage {
  const char* name;
  absl::Status (*body)(AttemptContext&);
};

constexpr Stage kStages[] = {
    {"CheckRunIdentity", CheckRunIdentity},
    {"OpenModel", OpenModel},
    {"PrepareData", PrepareTheData},
    {"CheckMasking", CheckTheMasking},
    {"LoadWeights", LoadWeights},
    {"BuildOptimizer", BuildOptimizer},
    {"Restore", Restore},
    {"Train", TrainLoop},
    {"SaveFinal", SaveFinal},
};

absl::Status RunStage(AttemptContext& context, const Stage& stage) {
  // Train leaves by itself, with a checkpoint; SaveFinal is not interrupted by less than a discard.
  const std::string_view name = stage.name;
  if (name != "Train" && name != "SaveFinal") RETURN_IF_ERROR(CheckStopRequested(context.control));
  v1::Event begin;
  begin.mutable_stage()->set_stage(stage.name);
  context.events.Emit(std::move(begin));
  const Clock::time_point start = Clock::now();
  RETURN_IF_ERROR(stage.body(context));
  v1::Event end;
  end.mutable_stage()->set_stage(stage.name);
  end.mutable_stage()->set_finished(true);
  end.mutable_stage()->set_seconds(SecondsSince(start));
  context.events.Emit(std::move(end));
  return absl::OkStatus();
}

v1::Attempt::End EndOf(StopMode stop_mode) {
  switch (stop_mode) {
    case StopMode::kPause:
      return v1::Attempt::PAUSED_OK;
    case StopMode::kStop:
      return v1::Attempt::STOPPED_OK;
    case StopMode::kDiscard:
      return v1::Attempt::DISCARDED;
    case StopMode::kNone:
      break;
  }
  return v1::Attempt::FAILED;
}

}  // namespace

internal::WorkerExitRecord RunJob(const internal::AttemptSpec& spec, EventSink& events,
                                  RunControl& control, const RunOptions& options) {
  AttemptContext context(spec, events, control, options);
  absl::Status status;
  const char* stage = "";
  for (const Stage& next : kStages) {
    stage = next.name;
    status = RunStage(context, next);
    if (!status.ok()) break;
  }
  internal::WorkerExitRecord record;
  record.set_end(status.ok()                 ? v1::Attempt::COMPLETED
                 : absl::IsCancelled(status) ? EndOf(control.stop_mode())
                                             : v1::Attempt::FAILED);
  if (record.end() == v1::Attempt::FAILED) {
    *record.mutable_error() = ToJobError(stage, status);
    record.mutable_error()->set_attempt(spec.attempt());
  }
  if (context.last_checkpoint.has_value())
    *record.mutable_last_checkpoint() = *context.last_checkpoint;
  record.set_first_step(context.first_step);
  record.set_last_step(context.last_step);
  *record.mutable_end_time() = ToProto(absl::Now());
  return record;
}

}  // namespace trainerd::engine
