// SPDX-License-Identifier: Apache-2.0
#include "engine/data/masking_check.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/data/counter_rng.h"
#include "engine/data/selection.h"

namespace trainerd::engine {
namespace {

constexpr double kLeastTrained = 0.15, kMostTrained = 0.95;
constexpr double kLeastCoverage = 0.9;
// What opens a turn of somebody else; in lower case. Words such as "user:" occur in honest answers,
// so this only warns.
constexpr std::array<const char*, 6> kForeignMarkers = {
    "<|im_start|>user",          "<|im_start|>system",    "<|start_header_id|>user",
    "<|start_header_id|>system", "<|im_start|>assistant", "[inst]"};

// What is counted over the sampled rows.
struct Sample {
  int64_t rows = 0, tokens = 0, trained = 0;
  int64_t runs = 0, spans = 0;
  int64_t rows_with_other_runs = 0, rows_badly_covered = 0, rows_untrained = 0,
          rows_all_trained = 0;
  double worst_coverage = 1;
  int64_t runs_with_marker = 0;
  std::string marker, first_fault;
};

class Sampler {
 public:
  Sampler(const PreparedData& data, const Tokenizer& tokenizer)
      : data_(data), tokenizer_(tokenizer) {}

  void Add(const PackedRow& row);
  const Sample& sample() const { return sample_; }

 private:
  void CountRuns(const Microbatch& batch, int64_t* runs, int64_t* trained);
  void LookForMarkers(const Microbatch& batch, int64_t begin, int64_t end);

  const PreparedData& data_;
  const Tokenizer& tokenizer_;
  Sample sample_;
};

// Runs end at document borders, so that two documents' trained ends and starts do not merge.
void Sampler::CountRuns(const Microbatch& batch, int64_t* runs, int64_t* trained) {
  for (int64_t document = 0; document < batch.num_documents(); ++document) {
    const int64_t end = batch.cu_seqlens[static_cast<size_t>(document) + 1];
    for (int64_t i = batch.cu_seqlens[static_cast<size_t>(document)]; i < end;) {
      if (batch.labels[static_cast<size_t>(i)] == kIgnoreIndex) {
        ++i;
        continue;
      }
      const int64_t begin = i;
      while (i < end && batch.labels[static_cast<size_t>(i)] != kIgnoreIndex) ++i;
      ++*runs;
      *trained += i - begin;
      LookForMarkers(batch, begin, i);
    }
  }
}

void Sampler::LookForMarkers(const Microbatch& batch, int64_t begin, int64_t end) {
  const std::string text = absl::AsciiStrToLower(tokenizer_.Decode(
      absl::MakeConstSpan(batch.labels)
          .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))));
  for (const char* marker : kForeignMarkers) {
    if (text.find(marker) == std::string::npos) continue;
    ++sample_.runs_with_marker;
    if (sample_.marker.empty()) sample_.marker = marker;
    return;
  }
}

void Sampler::Add(const PackedRow& row) {
  const Microbatch batch = MakeMicrobatch(data_.train, {&row});
  int64_t spans = 0, span_tokens = 0;
  for (const int64_t document : row.documents) {
    spans += data_.train[static_cast<size_t>(document)].target_spans;
    span_tokens += data_.train[static_cast<size_t>(document)].span_tokens;
  }
  int64_t runs = 0, trained = 0;
  CountRuns(batch, &runs, &trained);

  ++sample_.rows;
  sample_.tokens += batch.num_tokens();
  sample_.trained += trained;
  sample_.runs += runs;
  sample_.spans += spans;
  const double coverage = span_tokens == 0
                              ? (trained == 0 ? 1.0 : 0.0)
                              : static_cast<double>(trained) / static_cast<double>(span_tokens);
  sample_.worst_coverage = std::min(sample_.worst_coverage, coverage);
  const bool other_runs = runs != spans;
  sample_.rows_with_other_runs += other_runs;
  sample_.rows_badly_covered += coverage < kLeastCoverage;
  sample_.rows_untrained += trained == 0;
  sample_.rows_all_trained += trained == batch.num_tokens();
  if (sample_.first_fault.empty() && other_runs) {
    sample_.first_fault = absl::StrCat("example ", batch.examples.front(), ": ", runs,
                                       " trained runs, ", spans, " recorded spans");
  }
}

void AddCheck(const std::string& name, bool passed, bool error, double value, std::string message,
              v1::MaskingReport* report) {
  v1::MaskingReport::Check* check = report->add_checks();
  check->set_name(name);
  check->set_passed(passed);
  check->set_error(error);
  check->set_value(value);
  check->set_message(std::move(message));
}

void AddStructureChecks(const Sample& sample, bool trains_all, v1::MaskingReport* report) {
  const bool transitions = sample.rows_with_other_runs == 0;
  AddCheck("transitions", transitions, /*error=*/true, static_cast<double>(sample.runs),
           transitions ? absl::StrCat(sample.runs, " trained runs, as many as recorded spans")
                       : absl::StrCat("in ", sample.rows_with_other_runs, " of ", sample.rows,
                                      " rows the trained runs are not the recorded spans (",
                                      sample.first_fault,
                                      "); this is a fault of the template or of "
                                      "trainerd: report it with the template"),
           report);
  const bool covered = sample.rows_badly_covered == 0;
  AddCheck("coverage", covered, /*error=*/true, sample.worst_coverage,
           absl::StrFormat("in the worst row %.1f %% of the recorded tokens are trained",
                           100 * sample.worst_coverage),
           report);
  const int64_t forbidden = sample.rows_untrained + (trains_all ? 0 : sample.rows_all_trained);
  AddCheck("distribution", forbidden == 0, /*error=*/true, static_cast<double>(forbidden),
           forbidden == 0
               ? std::string("every row has trained tokens, and none is against data.train_on")
               : absl::StrCat(sample.rows_untrained, " rows without and ", sample.rows_all_trained,
                              " rows with only trained tokens; look at them with: trainerd-inspect "
                              "preview"),
           report);
}

void AddWarningChecks(const Sample& sample, bool trains_all, double fraction,
                      v1::MaskingReport* report) {
  const bool usual = trains_all || (fraction >= kLeastTrained && fraction <= kMostTrained);
  AddCheck("ratio", usual, /*error=*/false, fraction,
           absl::StrFormat("%.1f %% of the tokens are trained%s", 100 * fraction,
                           usual ? "" : "; 15 % to 95 % is usual: look at some rows with preview"),
           report);
  const bool clean = trains_all || sample.runs_with_marker == 0;
  AddCheck("content", clean, /*error=*/false, static_cast<double>(sample.runs_with_marker),
           clean ? std::string("no trained run opens another turn")
                 : absl::StrCat(sample.runs_with_marker, " trained runs contain ", sample.marker,
                                ": the data writes turns into its answers"),
           report);
}

}  // namespace

v1::MaskingReport CheckMasking(const PreparedData& data, const v1::JobConfig& config,
                               const Tokenizer& tokenizer) {
  Sampler sampler(data, tokenizer);
  const int64_t count = static_cast<int64_t>(data.train_rows.size());
  const CounterRng rng(config.train().seed(), RngPurpose::kMaskingSample, 0);
  for (const int64_t row : ChooseSeeded(count, kMaskingSampleRows, rng)) {
    sampler.Add(data.train_rows[static_cast<size_t>(row)]);
  }
  const Sample& sample = sampler.sample();
  const bool trains_all = config.data().train_on() == "all";
  const double fraction =
      sample.tokens == 0 ? 0.0
                         : static_cast<double>(sample.trained) / static_cast<double>(sample.tokens);
  v1::MaskingReport report;
  AddStructureChecks(sample, trains_all, &report);
  AddWarningChecks(sample, trains_all, fraction, &report);
  report.set_trained_fraction(fraction);
  report.set_sampled_rows(sample.rows);
  const int64_t first_step_rows =
      static_cast<int64_t>(config.train().batch_size()) * config.train().gradient_accumulation();
  report.set_first_batches_digest(FirstRowsDigest(data, config, first_step_rows));
  return report;
}

absl::Status MaskingStatus(const v1::MaskingReport& report) {
  std::string faults;
  for (const v1::MaskingReport::Check& check : report.checks()) {
    if (check.passed() || !check.error()) continue;
    absl::StrAppend(&faults, faults.empty() ? "" : "; ", check.name(), ": ", check.message());
  }
  if (faults.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the masking check failed: ", faults));
}

}  // namespace trainerd::engine
