// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/core/job_error.h"
#include "engine/data/token_range.h"
#include "engine/data/warm_up.h"
#include "engine/train/kept_model.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/plan/steps_left.h"

namespace trainerd::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kProgressInterval = std::chrono::milliseconds(250);

// A job from the last step of another one has nothing to train. It may still save the final model
// of that one if nothing differs.
absl::Status CheckStepsLeft(const AttemptContext& context) {
  if (!context.start.has_value() || context.start_is_resume) return absl::OkStatus();
  const RunState& theirs = context.start->state;
  const int64_t last = context.loader->total_steps();
  if (theirs.step < last) return absl::OkStatus();
  if (last == theirs.total_steps && InitDifferences(context).empty() &&
      context.data.report.fingerprint() == theirs.data_fingerprint)
    return absl::OkStatus();
  return WithCause(absl::FailedPreconditionError(NoStepLeftText(
                       context.config, absl::StrCat("the checkpoint ", context.start->folder),
                       theirs.step, last)),
                   {.code = "NOTHING_TO_TRAIN", .cause = v1::JobError::USER, .retryable = false});
}

void EmitProgress(AttemptContext& context, double fraction) {
  v1::Event event;
  event.mutable_stage()->set_stage("PrepareData");
  event.mutable_stage()->set_fraction(fraction);
  context.events.Emit(std::move(event));
}

}  // namespace

absl::Status PrepareData(AttemptContext& context) {
  Clock::time_point reported = Clock::now();
  const PrepareProgress progress = [&](double fraction) {
    if (Clock::now() - reported >= kProgressInterval) {
      reported = Clock::now();
      EmitProgress(context, fraction);
    }
    return CheckStopRequested(context.control);
  };
  // The tokenizer's files are those that the job keeps.
  v1::JobConfig config = context.config;
  config.mutable_model()->set_path(KeptModelFolder(context.spec.run_dir()));
  ASSIGN_OR_RETURN(context.data, PrepareData(config, context.text, progress,
                                             {.num_threads = context.spec.cpu_threads(),
                                              .cache_folder = context.options.cache_folder,
                                              .scratch_folder = context.spec.run_dir()}));
  for (const std::string& note : context.data.notes)
    EmitNotice(context.events, v1::Notice::WARNING, "TOKEN_CACHE", note);
  if (context.data.from_cache) {
    EmitNotice(context.events, v1::Notice::INFO, "TOKEN_CACHE",
               "the tokenized examples are read from the cache");
  }
  RETURN_IF_ERROR(CheckTokenRange(context.data, *context.text.tokenizer, context.model.vocab_size));
  context.loader = std::make_unique<DataLoader>(*context.data.store, context.data.train_sequences,
                                                LoaderOptions(context.config));
  RETURN_IF_ERROR(WithCause(
      CheckWarmUp(context.config, context.loader->total_steps()),
      {.code = "CONFIGURATION_INVALID", .cause = v1::JobError::USER, .retryable = false}));
  context.data.report.set_total_steps(context.loader->total_steps());
  v1::Event event;
  *event.mutable_data_report() = context.data.report;
  context.events.Emit(std::move(event));
  RETURN_IF_ERROR(CheckDataIdentity(context));
  return CheckStepsLeft(context);
}

}  // namespace trainerd::engine
