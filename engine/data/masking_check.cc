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
#include "engine/data/batches/counter_rng.h"
#include "engine/data/batches/selection.h"
#include "engine/data/source/source_format.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/enum_words.h"

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

  absl::Status Add(int64_t row);
  const Sample& sample() const { return sample_; }

 private:
  // What the labels of a row's conversations say, and what the template renderer recorded for them.
  struct Counts {
    int64_t runs = 0, trained = 0;
    int64_t spans = 0, span_tokens = 0;
  };
  void CountRuns(const std::vector<int32_t>& labels, Counts* counts);
  void LookForMarkers(absl::Span<const int32_t> run);

  const PreparedData& data_;
  const Tokenizer& tokenizer_;
  Sample sample_;
};

void Sampler::CountRuns(const std::vector<int32_t>& labels, Counts* counts) {
  for (size_t i = 0; i < labels.size();) {
    if (labels[i] == kIgnoreIndex) {
      ++i;
      continue;
    }
    const size_t begin = i;
    while (i < labels.size() && labels[i] != kIgnoreIndex) ++i;
    ++counts->runs;
    counts->trained += static_cast<int64_t>(i - begin);
    LookForMarkers(absl::MakeConstSpan(labels).subspan(begin, i - begin));
  }
}

void Sampler::LookForMarkers(absl::Span<const int32_t> run) {
  const std::string text = absl::AsciiStrToLower(tokenizer_.Decode(run));
  for (const char* marker : kForeignMarkers) {
    if (text.find(marker) == std::string::npos) continue;
    ++sample_.runs_with_marker;
    if (sample_.marker.empty()) sample_.marker = marker;
    return;
  }
}

absl::Status Sampler::Add(int64_t row) {
  ASSIGN_OR_RETURN(const Microbatch batch,
                   MakeMicrobatch(*data_.store, data_.train_sequences, {row}));
  // By document, so that two documents' trained ends and starts do not merge. Of a document that is
  // a piece the whole conversation counts: its spans are recorded for that.
  Counts counts;
  bool has_piece = false;
  for (int64_t i = 0; i < batch.num_documents(); ++i) {
    const Piece piece = data_.train_sequences.document(row, i);
    ASSIGN_OR_RETURN(const TokenExample example, data_.store->Read(piece.example));
    const int64_t tokens =
        batch.cu_seqlens[static_cast<size_t>(i) + 1] - batch.cu_seqlens[static_cast<size_t>(i)];
    if (tokens == static_cast<int64_t>(example.ids.size())) {
      const auto begin = batch.labels.begin() + batch.cu_seqlens[static_cast<size_t>(i)];
      CountRuns({begin, begin + tokens}, &counts);
    } else {
      has_piece = true;
      CountRuns(example.labels, &counts);
    }
    counts.spans += example.target_spans;
    counts.span_tokens += example.span_tokens;
  }
  const int64_t trained = static_cast<int64_t>(batch.labels.size()) -
                          std::count(batch.labels.begin(), batch.labels.end(), kIgnoreIndex);

  ++sample_.rows;
  sample_.tokens += batch.num_tokens();
  sample_.trained += trained;
  sample_.runs += counts.runs;
  sample_.spans += counts.spans;
  const double coverage = counts.span_tokens == 0 ? (counts.trained == 0 ? 1.0 : 0.0)
                                                  : static_cast<double>(counts.trained) /
                                                        static_cast<double>(counts.span_tokens);
  sample_.worst_coverage = std::min(sample_.worst_coverage, coverage);
  const bool other_runs = counts.runs != counts.spans;
  sample_.rows_with_other_runs += other_runs;
  sample_.rows_badly_covered += coverage < kLeastCoverage;
  sample_.rows_untrained += trained == 0;
  // The middle of a long answer is trained from end to end by right.
  sample_.rows_all_trained += !has_piece && trained == batch.num_tokens();
  if (sample_.first_fault.empty() && other_runs) {
    sample_.first_fault = absl::StrCat("example ", batch.examples.front(), ": ", counts.runs,
                                       " trained stretches, ", counts.spans, " recorded spans");
  }
  return absl::OkStatus();
}

// Whether some of the files have records of the form text.
bool HasTextRecords(const PreparedData& data) {
  const auto& formats = data.store->summary().formats();
  return std::find(formats.begin(), formats.end(), static_cast<int>(SourceFormat::kText)) !=
         formats.end();
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
           transitions
               ? absl::StrCat(Counted(sample.runs, "trained stretch", "trained stretches"),
                              ", as many as recorded spans")
               : absl::StrCat(
                     "in ", sample.rows_with_other_runs, " of ", Counted(sample.rows, "sequence"),
                     " the trained stretches are not the recorded spans (", sample.first_fault,
                     "); this is an error of the template or of "
                     "trainerd: report it with the template"),
           report);
  const bool covered = sample.rows_badly_covered == 0;
  AddCheck("coverage", covered, /*error=*/true, sample.worst_coverage,
           absl::StrFormat("in the worst sequence %.1f %% of the recorded tokens are trained",
                           100 * sample.worst_coverage),
           report);
  const int64_t forbidden = sample.rows_untrained + (trains_all ? 0 : sample.rows_all_trained);
  AddCheck("distribution", forbidden == 0, /*error=*/true, static_cast<double>(forbidden),
           forbidden == 0
               ? std::string("every sequence has trained tokens, and none is against data.train_on")
               : absl::StrCat(Counted(sample.rows_untrained, "sequence"), " without and ",
                              sample.rows_all_trained,
                              " with only trained tokens; inspect them with: trainerd-inspect "
                              "preview"),
           report);
}

// What data.train_on, or the form of the records, makes a target.
std::string RuleText(const v1::JobConfig& config, bool has_text) {
  if (config.has_preference()) return "preference: the two answers";
  return absl::StrCat("data.train_on: ", EnumText(config.data().train_on()),
                      has_text ? "; text records are trained whole" : "");
}

void AddWarningChecks(const Sample& sample, const v1::JobConfig& config, bool has_text,
                      double fraction, v1::MaskingReport* report) {
  const bool trains_all = has_text || TrainsAllTokens(config.data().train_on());
  const bool usual = trains_all || (fraction >= kLeastTrained && fraction <= kMostTrained);
  AddCheck(
      "ratio", usual, /*error=*/false, fraction,
      absl::StrFormat(
          "%.1f %% of the tokens are trained (%s)%s", 100 * fraction, RuleText(config, has_text),
          usual ? "" : "; 15 % to 95 % is usual: check some conversations with trainctl preview"),
      report);
  const bool clean = trains_all || sample.runs_with_marker == 0;
  AddCheck("content", clean, /*error=*/false, static_cast<double>(sample.runs_with_marker),
           clean ? std::string("no trained text opens another turn")
                 : absl::StrCat(sample.runs_with_marker, " trained stretches contain ",
                                sample.marker, ": answers in the data contain turns"),
           report);
}

}  // namespace

absl::StatusOr<v1::MaskingReport> CheckMasking(const PreparedData& data,
                                               const v1::JobConfig& config,
                                               const TextPipeline& text) {
  Sampler sampler(data, *text.tokenizer);
  const int64_t count = data.train_sequences.size();
  const CounterRng rng(config.train().seed(), RngPurpose::kMaskingSample, 0);
  for (const int64_t row : ChooseSeeded(count, kMaskingSampleRows, rng)) {
    RETURN_IF_ERROR(sampler.Add(row));
  }
  const Sample& sample = sampler.sample();
  const bool trains_all = TrainsAllTokens(config.data().train_on());
  const double fraction =
      sample.tokens == 0 ? 0.0
                         : static_cast<double>(sample.trained) / static_cast<double>(sample.tokens);
  v1::MaskingReport report;
  AddStructureChecks(sample, trains_all, &report);
  AddWarningChecks(sample, config, HasTextRecords(data), fraction, &report);
  const bool keeps_list = text.chat_template->content_form() == ContentForm::kList;
  AddCheck("content_form", /*passed=*/true, /*error=*/false, keeps_list ? 1 : 0,
           keeps_list ? "list" : "joined text", &report);
  report.set_trained_fraction(fraction);
  report.set_sampled_rows(sample.rows);
  const int64_t first_step_rows =
      static_cast<int64_t>(config.train().batch_size()) * config.train().gradient_accumulation();
  ASSIGN_OR_RETURN(*report.mutable_first_batches_digest(),
                   FirstRowsDigest(data, config, first_step_rows));
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
