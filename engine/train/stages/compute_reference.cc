// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/core/job_error.h"
#include "engine/model/preference.h"
#include "engine/optim/factory.h"
#include "engine/platform/torch_status.h"
#include "engine/train/decoder_options.h"
#include "engine/train/reference_file.h"
#include "engine/train/stages/stages.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kProgressInterval = std::chrono::milliseconds(250);
constexpr auto kSaveInterval = std::chrono::seconds(30);

// The pairs of the job, training first, and the batches in which the reference sees them. These
// depend on the pairs alone, so that neither an interruption nor train.batch_size changes a bit.
struct ReferencePairs {
  ReferenceHeader header;
  PackedSequences batches;
  std::vector<int64_t> indexes;  // TokenExample::index of each pair
};

absl::StatusOr<ReferencePairs> FindPairs(const AttemptContext& context) {
  const PreparedData& data = context.data;
  ReferencePairs result;
  Xxh3Stream hash;
  std::vector<uint32_t> batch;
  int64_t batch_tokens = 0;
  for (const std::vector<uint32_t>* set : {&data.train, &data.validation}) {
    for (size_t i = 0; i + 1 < set->size(); i += 2) {
      const uint32_t examples[] = {(*set)[i], (*set)[i + 1]};
      int64_t tokens = 0;
      for (const uint32_t example : examples) {
        ASSIGN_OR_RETURN(const ExampleRecord record, data.store->Record(example));
        hash.Update(&record.data_hash, sizeof(record.data_hash));
        tokens += record.num_tokens;
        if (example == examples[0]) result.indexes.push_back(record.index);
      }
      // As large as a packed sequence.
      if (!batch.empty() && batch_tokens + tokens > PackedTokens(context.config)) {
        result.batches.AddRow(std::exchange(batch, {}));
        batch_tokens = 0;
      }
      batch.insert(batch.end(), std::begin(examples), std::end(examples));
      batch_tokens += tokens;
    }
    hash.Update("|", 1);
  }
  if (!batch.empty()) result.batches.AddRow(batch);
  const std::string model = absl::StrCat(ToHex(context.model_fingerprint), " ",
                                         static_cast<int>(context.config.train().precision()), " ",
                                         static_cast<int>(context.config.model().quantization()));
  result.header = {.key = hash.Digest() + Xxh3(model),
                   .pairs = static_cast<int64_t>(result.indexes.size())};
  return result;
}

// The weights that the job started from, for an attempt that starts from a checkpoint of the job.
absl::StatusOr<std::unique_ptr<ParameterSet>> LoadStart(const AttemptContext& context) {
  const std::string& init = context.spec.init_path();
  const std::string folder = init.empty() ? context.config.model().path() : init;
  const auto unusable = [&](const std::string& why) {
    return WithCause(
        absl::FailedPreconditionError(absl::StrCat(
            "the log-probabilities of the reference are not in ",
            ReferenceFilePath(context.spec.run_dir()), ", and they cannot be computed again: ", why,
            "; put the model of the start back there, or start a new job with init_from")),
        {.code = "REFERENCE_LOST", .cause = v1::JobError::USER, .retryable = false});
  };
  absl::StatusOr<std::unique_ptr<HfFolder>> weights = HfFolder::Open(folder, context.model.names);
  if (!weights.ok()) return unusable(std::string(weights.status().message()));
  ModelConfig config = context.model;
  (*weights)->MatchHead(HeadCheck::kAll, config);
  const absl::Status complete = (*weights)->CheckComplete(context.model);
  if (!complete.ok()) return unusable(std::string(complete.message()));
  if ((*weights)->Fingerprint(context.model) != context.model_fingerprint)
    return unusable(absl::StrCat("the weights in ", folder, " are not those of the start"));
  ASSIGN_OR_RETURN(auto parameters,
                   ParameterSet::Create(context.model, context.parameters->precision(),
                                        context.device, context.frozen));
  RETURN_IF_ERROR(parameters->Load(**weights));
  if (!init.empty() && ContinuesFromCheckpoint(context.config.init_from().state())) {
    // Its masters may be more exact than its model file.
    ASSIGN_OR_RETURN(const std::unique_ptr<Optimizer> optimizer,
                     MakeOptimizer(context.config.optimizer(), *parameters));
    RETURN_IF_ERROR(ReadOptimizerFile(folder, *parameters, *optimizer));
  }
  return parameters;
}

class ReferenceComputation {
 public:
  ReferenceComputation(AttemptContext& context, const ReferencePairs& pairs)
      : context_(context), pairs_(pairs) {}

  // Adds the values of the pairs that lack them. After an error, those that it has are in the file.
  absl::Status Complete(std::vector<double>* values);

 private:
  absl::Status OpenDecoder();
  // Adds those of batch `number`.
  absl::Status Compute(int64_t number, std::vector<double>* values);
  absl::Status Save(const std::vector<double>& values);
  void ReportProgress(const std::vector<double>& values);

  AttemptContext& context_;
  const ReferencePairs& pairs_;
  std::unique_ptr<ParameterSet> start_;  // null: the weights are still those of the start
  std::unique_ptr<Decoder> decoder_;
  Clock::time_point reported_ = Clock::now(), saved_ = Clock::now();
};

absl::Status ReferenceComputation::OpenDecoder() {
  // With lora the weights besides the adapter never change.
  if (context_.start_is_resume && !context_.adapter.has_value()) {
    ASSIGN_OR_RETURN(start_, LoadStart(context_));
  }
  ParameterSet& parameters = start_ != nullptr ? *start_ : *context_.parameters;
  return CatchTorch([&] {
    decoder_ = std::make_unique<Decoder>(context_.model, parameters,
                                         DecoderOptions{.with_adapter = false});
  });
}

absl::Status ReferenceComputation::Compute(int64_t number, std::vector<double>* values) {
  ASSIGN_OR_RETURN(Microbatch batch,
                   MakeMicrobatch(*context_.data.store, pairs_.batches, {number}));
  batch.is_pairs = true;
  return CatchTorch([&]() -> absl::Status {
    const at::Tensor computed =
        LogProbabilities(*decoder_, ToDevice(batch, context_.device)).cpu().contiguous();
    const double* value = computed.const_data_ptr<double>();
    for (size_t i = 0; i < batch.examples.size(); ++i) {
      if (!std::isfinite(value[i])) {
        return WithCause(
            absl::FailedPreconditionError(absl::StrCat(
                "the log-probability of an answer of pair ", batch.examples[i],
                " (counted from 0) under the reference is ", value[i],
                "; inspect the pair with `trainctl preview`, or use train.precision: fp32")),
            {.code = "NON_FINITE", .cause = v1::JobError::NUMERICS, .retryable = false});
      }
      values->push_back(value[i]);
    }
    return absl::OkStatus();
  });
}

absl::Status ReferenceComputation::Save(const std::vector<double>& values) {
  saved_ = Clock::now();
  const absl::Status status =
      WriteReferenceFile(context_.spec.run_dir(), context_.spec.attempt(), pairs_.header, values);
  if (status.ok()) return status;
  return WithCause(Annotate(status, "keep the log-probabilities of the reference"),
                   WriteCause(status, "RUN_DIRECTORY"));
}

void ReferenceComputation::ReportProgress(const std::vector<double>& values) {
  if (Clock::now() - reported_ < kProgressInterval) return;
  reported_ = Clock::now();
  v1::Event event;
  event.mutable_stage()->set_stage("ComputeReference");
  event.mutable_stage()->set_fraction(static_cast<double>(values.size()) / 2 /
                                      static_cast<double>(pairs_.header.pairs));
  context_.events.Emit(std::move(event));
}

absl::Status ReferenceComputation::Complete(std::vector<double>* values) {
  RETURN_IF_ERROR(OpenDecoder());
  size_t after = 0;
  for (int64_t number = 0; number < pairs_.batches.size(); ++number) {
    after += static_cast<size_t>(pairs_.batches.num_documents(number));
    if (values->size() >= after) continue;
    // An interrupted attempt ends with a whole batch.
    values->resize(after - static_cast<size_t>(pairs_.batches.num_documents(number)));
    const absl::Status stopped = CheckStopRequested(context_.control);
    if (!stopped.ok()) {
      if (context_.control.stop_mode() != StopMode::kDiscard) RETURN_IF_ERROR(Save(*values));
      return stopped;
    }
    RETURN_IF_ERROR(Compute(number, values));
    if (Clock::now() - saved_ >= kSaveInterval) RETURN_IF_ERROR(Save(*values));
    ReportProgress(*values);
  }
  return Save(*values);
}

// What the file of the run directory holds, and a notice if there should be more.
std::vector<double> ReadKept(AttemptContext& context, const ReferenceHeader& header) {
  absl::StatusOr<std::vector<double>> values = ReadReferenceFile(context.spec.run_dir(), header);
  if (values.ok()) return *std::move(values);
  // The first attempt has none.
  if (absl::IsNotFound(values.status()) && !context.start_is_resume) return {};
  EmitNotice(context.events, v1::Notice::WARNING, "REFERENCE_FILE",
             absl::StrCat("the log-probabilities of the reference are computed again from the "
                          "weights of the start: ",
                          values.status().message()));
  return {};
}

}  // namespace

absl::Status ComputeReference(AttemptContext& context) {
  Preference preference;
  ASSIGN_OR_RETURN(preference.options, PreferenceOptionsOf(context.config.preference()));
  ASSIGN_OR_RETURN(const ReferencePairs pairs, FindPairs(context));
  std::vector<double> values = ReadKept(context, pairs.header);
  if (values.size() < 2 * pairs.indexes.size())
    RETURN_IF_ERROR(ReferenceComputation(context, pairs).Complete(&values));
  for (size_t i = 0; i < pairs.indexes.size(); ++i) {
    ReferenceTable& table =
        i < context.data.train.size() / 2 ? preference.train : preference.validation;
    table.Add(pairs.indexes[i], values[2 * i], values[2 * i + 1]);
  }
  context.preference = std::move(preference);
  return absl::OkStatus();
}

}  // namespace trainerd::engine
