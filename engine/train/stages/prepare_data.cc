// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/core/job_error.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kProgressInterval = std::chrono::milliseconds(250);

// A tokenizer may have more tokens than the embedding has rows. Only tokens that occur matter.
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
      return absl::InvalidArgumentError(absl::StrCat(
          "conversation ", example.index, " (counted from 0) contains token ", *largest,
          ", but the embedding of the model has ", context.model.vocab_size,
          " rows; use the tokenizer that belongs to the model in ", context.config.model().path()));
    }
  }
  return absl::OkStatus();
}

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
  return WithCause(absl::FailedPreconditionError(
                       absl::StrCat("the checkpoint ", context.start->folder, " is of step ",
                                    theirs.step, " and the job ends at step ", last,
                                    ", so no step is left; raise train.max_steps or train.epochs, "
                                    "or train a new job from its "
                                    "weights with init_from.state=weights")),
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
  ASSIGN_OR_RETURN(context.data, PrepareData(context.config, context.text, progress,
                                             {.num_threads = context.spec.cpu_threads(),
                                              .cache_folder = context.options.cache_folder,
                                              .scratch_folder = context.spec.run_dir()}));
  for (const std::string& note : context.data.notes)
    EmitNotice(context.events, v1::Notice::WARNING, "TOKEN_CACHE", note);
  if (context.data.from_cache) {
    EmitNotice(context.events, v1::Notice::INFO, "TOKEN_CACHE",
               "the tokenized examples are read from the cache");
  }
  RETURN_IF_ERROR(CheckTokenRange(context));
  context.loader = std::make_unique<DataLoader>(*context.data.store, context.data.train_sequences,
                                                LoaderOptions(context.config));
  context.data.report.set_total_steps(context.loader->total_steps());
  v1::Event event;
  *event.mutable_data_report() = context.data.report;
  context.events.Emit(std::move(event));
  RETURN_IF_ERROR(CheckDataIdentity(context));
  return CheckStepsLeft(context);
}

}  // namespace trainerd::engine
