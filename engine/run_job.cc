// SPDX-License-Identifier: Apache-2.0
#include "engine/run_job.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/data/masking_check.h"
#include "engine/torch_status.h"
#include "engine/train/final_model.h"
#include "engine/train/job_error.h"
#include "engine/train/run.h"
#include "engine/train/run_identity.h"
#include "engine/train/train_loop.h"
#include "proto/contract/status_macros.h"

namespace trainerd::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kProgressInterval = std::chrono::milliseconds(250);

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

absl::Status OpenModel(Run& run) {
  const std::string& folder = run.config.model().path();
  ASSIGN_OR_RETURN(run.model, ReadModelConfig(folder));
  ASSIGN_OR_RETURN(run.weights, HfFolder::Open(run.weights_folder));
  RETURN_IF_ERROR(run.weights->CheckComplete(run.model));
  ASSIGN_OR_RETURN(run.text, OpenTextPipeline(run.config));
  if (run.config.samples().prompts().empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(run.prompts, ReadSamplePrompts(run.config.samples().prompts(),
                                                  run.config.data().system_prompt()));
  ASSIGN_OR_RETURN(run.prompter,
                   Prompter::Create(folder, *run.text.tokenizer, *run.text.chat_template,
                                    {.now = run.config.data().now(),
                                     .control_tokens_as_text =
                                         run.config.data().control_tokens() == "as_text"}));
  return absl::OkStatus();
}

// A tokenizer may know more tokens than the model has rows for; only tokens that occur matter.
absl::Status CheckTokenRange(const Run& run) {
  const internal::TokenSetSummary& summary = run.data.store->summary();
  if (std::max(summary.train().largest_id(), summary.validation().largest_id()) <
      run.model.vocab_size) {
    return absl::OkStatus();
  }
  for (const std::vector<uint32_t>* examples : {&run.data.train, &run.data.validation}) {
    for (const uint32_t number : *examples) {
      ASSIGN_OR_RETURN(const TokenExample example, run.data.store->Read(number));
      const auto largest = std::max_element(example.ids.begin(), example.ids.end());
      if (largest == example.ids.end() || *largest < run.model.vocab_size) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("conversation ", example.index, " (from 0) holds token ", *largest,
                       ", but the model has only ", run.model.vocab_size,
                       " rows of embedding: tokenizer and model of ", run.config.model().path(),
                       " do not belong together"));
    }
  }
  return absl::OkStatus();
}

void EmitProgress(Run& run, double fraction) {
  v1::Event event;
  event.mutable_stage()->set_stage("PrepareData");
  event.mutable_stage()->set_fraction(fraction);
  run.events.Emit(std::move(event));
}

absl::Status PrepareTheData(Run& run) {
  Clock::time_point said = Clock::now();
  const PrepareProgress progress = [&](double fraction) {
    if (Clock::now() - said >= kProgressInterval) {
      said = Clock::now();
      EmitProgress(run, fraction);
    }
    return CheckWanted(run.control);
  };
  ASSIGN_OR_RETURN(run.data, PrepareData(run.config, run.text, progress,
                                         {.num_threads = run.spec.cpu_threads(),
                                          .cache_folder = run.options.cache_folder,
                                          .scratch_folder = run.spec.run_dir()}));
  for (const std::string& note : run.data.notes) {
    EmitNotice(run.events, v1::Notice::WARNING, "TOKEN_CACHE", note);
  }
  if (run.data.from_cache) {
    EmitNotice(run.events, v1::Notice::INFO, "TOKEN_CACHE",
               "the token rows were made before and are read from the cache");
  }
  RETURN_IF_ERROR(CheckTokenRange(run));
  run.loader =
      std::make_unique<DataLoader>(*run.data.store, run.data.train_rows, LoaderOptions(run.config));
  run.data.report.set_total_steps(run.loader->total_steps());
  v1::Event event;
  *event.mutable_data_report() = run.data.report;
  run.events.Emit(std::move(event));
  return CheckDataIdentity(run);
}

absl::Status CheckTheMasking(Run& run) {
  ASSIGN_OR_RETURN(const v1::MaskingReport report,
                   CheckMasking(run.data, run.config, *run.text.tokenizer));
  v1::Event event;
  *event.mutable_masking_report() = report;
  run.events.Emit(std::move(event));
  return MaskingStatus(report);
}

absl::Status LoadWeights(Run& run) {
  const Precision precision =
      run.config.train().precision() == "bf16" ? Precision::kBf16 : Precision::kFp32;
  ASSIGN_OR_RETURN(run.parameters, ParameterSet::Create(run.model, precision, run.device));
  RETURN_IF_ERROR(run.parameters->Load(*run.weights));
  run.weights.reset();
  return CatchTorch([&] { run.decoder = std::make_unique<Decoder>(run.model, *run.parameters); });
}

absl::Status BuildOptimizer(Run& run) {
  const v1::OptimizerConfig& config = run.config.optimizer();
  if (config.betas_size() != 2)
    return absl::InvalidArgumentError("optimizer.betas must hold two values");
  const AdamW::Options options{.beta1 = config.betas(0),
                               .beta2 = config.betas(1),
                               .eps = config.eps(),
                               .weight_decay = config.weight_decay(),
                               .decay_norms = config.decay_norms()};
  return CatchTorch([&] { run.optimizer = std::make_unique<AdamW>(*run.parameters, options); });
}

absl::Status Restore(Run& run) {
  if (run.start.has_value()) {
    RETURN_IF_ERROR(ReadOptimizerFile(run.start->folder, *run.parameters, *run.optimizer));
    run.state = run.start->state;
    // Due again when the run has become longer or shorter: its end is another one.
    if (run.state.total_steps != run.loader->total_steps() &&
        run.state.step >= run.loader->total_steps()) {
      run.state.evaluated_step = run.state.sampled_step = -1;
    }
  }
  run.state.total_steps = run.loader->total_steps();
  run.state.config = run.spec.config();
  run.state.data_fingerprint = run.data.report.fingerprint();
  run.state.environment = run.environment;
  run.monitor = std::make_unique<LiveMonitor>(
      LiveMonitor::Options{.total_steps = run.state.total_steps, .state = run.state.monitor});
  return absl::OkStatus();
}

struct Stage {
  const char* name;
  absl::Status (*body)(Run&);
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

absl::Status RunStage(Run& run, const Stage& stage) {
  // Train leaves by itself, with a checkpoint; SaveFinal is not interrupted by less than a discard.
  const std::string_view name = stage.name;
  if (name != "Train" && name != "SaveFinal") RETURN_IF_ERROR(CheckWanted(run.control));
  v1::Event begin;
  begin.mutable_stage()->set_stage(stage.name);
  run.events.Emit(std::move(begin));
  const Clock::time_point start = Clock::now();
  RETURN_IF_ERROR(stage.body(run));
  v1::Event end;
  end.mutable_stage()->set_stage(stage.name);
  end.mutable_stage()->set_finished(true);
  end.mutable_stage()->set_seconds(SecondsSince(start));
  run.events.Emit(std::move(end));
  return absl::OkStatus();
}

v1::Attempt::End EndOf(Wanted wanted) {
  switch (wanted) {
    case Wanted::kPause:
      return v1::Attempt::PAUSED_OK;
    case Wanted::kStop:
      return v1::Attempt::STOPPED_OK;
    case Wanted::kDiscard:
      return v1::Attempt::DISCARDED;
    case Wanted::kRun:
      break;
  }
  return v1::Attempt::FAILED;
}

void SetEndTime(internal::WorkerExitRecord* record) {
  const absl::Time now = absl::Now();
  record->mutable_end_time()->set_seconds(absl::ToUnixSeconds(now));
  record->mutable_end_time()->set_nanos(static_cast<int32_t>(
      (now - absl::FromUnixSeconds(absl::ToUnixSeconds(now))) / absl::Nanoseconds(1)));
}

}  // namespace

internal::WorkerExitRecord RunJob(const internal::AttemptSpec& spec, EventSink& events,
                                  RunControl& control, const RunOptions& options) {
  Run run(spec, events, control, options);
  absl::Status status;
  const char* stage = "";
  for (const Stage& next : kStages) {
    stage = next.name;
    status = RunStage(run, next);
    if (!status.ok()) break;
  }
  internal::WorkerExitRecord record;
  record.set_end(status.ok()                 ? v1::Attempt::COMPLETED
                 : absl::IsCancelled(status) ? EndOf(control.wanted())
                                             : v1::Attempt::FAILED);
  if (record.end() == v1::Attempt::FAILED) {
    *record.mutable_error() = ToJobError(stage, status);
    record.mutable_error()->set_attempt(spec.attempt());
  }
  if (run.last_checkpoint.has_value()) *record.mutable_last_checkpoint() = *run.last_checkpoint;
  record.set_first_step(run.first_step);
  record.set_last_step(run.last_step);
  SetEndTime(&record);
  return record;
}

}  // namespace trainerd::engine
