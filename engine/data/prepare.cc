// SPDX-License-Identifier: Apache-2.0
#include "engine/data/prepare.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/batches/sequence_plan.h"
#include "engine/data/examples/example_set.h"
#include "engine/data/examples/tokenize_files.h"
#include "engine/data/source/findings.h"
#include "engine/data/source/source_format.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/enum_words.h"

namespace trainerd::engine {
namespace {

// Share of the progress that reading and tokenising take; the rest is packing and the report.
constexpr double kReadingShare = 0.95;

// Linear between the two nearest values, as numpy.percentile.
double Percentile(const std::vector<int32_t>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double low = static_cast<double>(sorted[below]), high = static_cast<double>(sorted[above]);
  return low + (place - static_cast<double>(below)) * (high - low);
}

absl::Status FillLengths(const PreparedData& data, v1::DataReport::Lengths* report) {
  report->set_count(static_cast<int64_t>(data.train.size()));
  if (data.train.empty()) return absl::OkStatus();
  std::vector<int32_t> lengths;
  lengths.reserve(data.train.size());
  int64_t total = 0;
  size_t next = 0;
  RETURN_IF_ERROR(data.store->ForEachRecord(data.train.front(), int64_t{data.train.back()} + 1,
                                            [&](int64_t example, const ExampleRecord& record) {
                                              if (next == data.train.size() ||
                                                  data.train[next] != example)
                                                return absl::OkStatus();
                                              ++next;
                                              lengths.push_back(record.tokens_before);
                                              total += record.tokens_before;
                                              return absl::OkStatus();
                                            }));
  std::sort(lengths.begin(), lengths.end());
  report->set_total(total);
  report->set_p50(Percentile(lengths, 0.50));
  report->set_p95(Percentile(lengths, 0.95));
  report->set_p99(Percentile(lengths, 0.99));
  report->set_max(lengths.back());
  return absl::OkStatus();
}

// Over ids and labels of the trained examples in file order.
absl::StatusOr<std::string> Fingerprint(const PreparedData& data) {
  const auto& all = data.store->summary().train();
  if (static_cast<int64_t>(data.train.size()) == all.examples()) return all.fingerprint();
  Xxh3Stream hash;
  for (const uint32_t example : data.train) {
    ASSIGN_OR_RETURN(const TokenExample tokens, data.store->Read(example));
    HashExample(tokens, &hash);
  }
  return hash.Digest();
}

std::string Formats(const v1::DataConfig& data, const internal::TokenSetSummary& summary) {
  FileFormats formats;
  const std::vector<std::string> files = DataFiles(data);
  for (size_t i = 0; i < files.size() && i < static_cast<size_t>(summary.formats_size()); ++i) {
    formats.emplace_back(files[i], static_cast<SourceFormat>(summary.formats(static_cast<int>(i))));
  }
  return FormatsText(formats);
}

// One call of PrepareData.
class Preparation {
 public:
  Preparation(const v1::JobConfig& config, const TextPipeline& text,
              const PrepareProgress& progress, const PrepareOptions& options)
      : config_(config),
        text_(text),
        progress_(progress),
        options_(options),
        findings_(config.data()) {}

  absl::StatusOr<PreparedData> Run();

 private:
  // NO_ROWS when nothing of a set can be trained, unless its errors are the reason.
  absl::Status RequireExamples(const internal::TokenSetSummary::Counters& set,
                               const std::string& what, int64_t count, bool has_errors);
  // The same for the validation set of the plan.
  absl::Status RequireValidation(const TokenizedFiles& files, const SequencePlan& plan);
  absl::Status ReportNoRows(const std::string& message);
  absl::Status FillReport(const SequencePlan& plan, PreparedData* data) const;

  const v1::JobConfig& config_;
  const TextPipeline& text_;
  const PrepareProgress& progress_;
  const PrepareOptions options_;
  Findings findings_;
};

absl::Status Preparation::RequireExamples(const internal::TokenSetSummary::Counters& set,
                                          const std::string& what, int64_t count, bool has_errors) {
  if (count > 0 || has_errors) return absl::OkStatus();
  const bool all_bad = set.rows_bad() == set.rows_read();
  return ReportNoRows(absl::StrCat(
      what, ": no row can be trained on: ", RowsText(set),
      all_bad ? "; fix the records"
      : config_.has_preference()
          ? "; check data.max_length, which the prompt and a token of each answer must fit into"
          : "; check the roles of the messages, data.train_on and data.max_length"));
}

absl::Status Preparation::ReportNoRows(const std::string& message) {
  if (!options_.keep_going) return absl::InvalidArgumentError(message);
  findings_.AddElsewhere("NO_ROWS", true, "", message);
  return absl::OkStatus();
}

absl::Status Preparation::RequireValidation(const TokenizedFiles& files, const SequencePlan& plan) {
  const v1::DataConfig& data = config_.data();
  const internal::TokenSetSummary& summary = files.store->summary();
  const int64_t train = summary.train().examples();
  if (plan.validation_rows.num_documents() > 0 || train == 0) return absl::OkStatus();
  if (!data.validation().empty() && summary.validation().examples() > 0) {
    return RequireExamples(summary.validation(), data.validation(), 0, files.validation_has_errors);
  }
  if (!(data.validation_fraction() > 0) || files.train_has_errors) return absl::OkStatus();
  return ReportNoRows(
      absl::StrCat("data.validation_fraction ", data.validation_fraction(), " of ",
                   Counted(train / ExamplesPerRecord(config_), "example"),
                   " yields no example to validate on; add data, or set it to 0 or replace it by "
                   "data.validation"));
}

absl::Status Preparation::FillReport(const SequencePlan& plan, PreparedData* data) const {
  v1::DataReport& report = data->report;
  const internal::TokenSetSummary& summary = data->store->summary();
  report.set_format(Formats(config_.data(), summary));
  report.set_examples(summary.train().rows_read());
  const int64_t per_record = ExamplesPerRecord(config_);
  report.set_trained_examples(static_cast<int64_t>(data->train.size()) / per_record);
  report.set_validation_examples(static_cast<int64_t>(data->validation.size()) / per_record);
  report.set_rows(data->train_sequences.size());
  report.set_truncated(summary.train().rows_truncated());
  RETURN_IF_ERROR(FillLengths(*data, report.mutable_tokens()));
  ASSIGN_OR_RETURN(*report.mutable_fingerprint(), Fingerprint(*data));
  report.set_target_tokens(plan.target_tokens);
  if (PacksDocuments(config_.data().packing()) && !data->train_sequences.empty()) {
    report.set_fill(static_cast<double>(plan.row_tokens) /
                    (static_cast<double>(data->train_sequences.size()) *
                     static_cast<double>(PackedTokens(config_))));
  }
  report.set_total_steps(
      DataLoader(*data->store, data->train_sequences, LoaderOptions(config_)).total_steps());
  findings_.AppendTo(&report);
  return absl::OkStatus();
}

absl::StatusOr<PreparedData> Preparation::Run() {
  const PrepareProgress reading = [&](double fraction) {
    return progress_ ? progress_(kReadingShare * fraction) : absl::OkStatus();
  };
  const v1::DataConfig& config = config_.data();
  ASSIGN_OR_RETURN(TokenizedFiles files,
                   TokenizeFiles(config_, text_, reading, options_, &findings_));
  if (config.profile() != v1::DataConfig::PROFILE_NONE &&
      text_.chat_template->source().find("<think>") != std::string::npos) {
    findings_.AddElsewhere("TWO_THINKING_FORMS", false, "",
                           absl::StrCat("profile ", EnumText(config.profile()),
                                        " and a template that writes <think> blocks "
                                        "teach two ways to think; set data.chat_template: chatml"));
  }
  const internal::TokenSetSummary& summary = files.store->summary();
  RETURN_IF_ERROR(RequireExamples(summary.train(), "data.train", summary.train().examples(),
                                  files.train_has_errors));
  if (!config.validation().empty()) {
    RETURN_IF_ERROR(RequireExamples(summary.validation(), config.validation(),
                                    summary.validation().examples(), files.validation_has_errors));
  }
  RETURN_IF_ERROR(reading(1.0));
  ASSIGN_OR_RETURN(SequencePlan plan, PlanSequences(config_, *files.store, &findings_));
  if (summary.train().examples() > 0) {
    // Every piece of conversations that were cut may be without a target.
    RETURN_IF_ERROR(RequireExamples(summary.train(), "data.train",
                                    plan.train_sequences.num_documents(), files.train_has_errors));
  }
  RETURN_IF_ERROR(RequireValidation(files, plan));
  PreparedData data;
  data.store = std::move(files.store);
  data.from_cache = files.from_cache;
  data.notes = std::move(files.notes);
  data.train_has_errors = files.train_has_errors;
  data.train = std::move(plan.train);
  data.validation = std::move(plan.validation);
  data.train_sequences = std::move(plan.train_sequences);
  data.validation_rows = std::move(plan.validation_rows);
  if (!options_.keep_going) RETURN_IF_ERROR(findings_.ConfiguredErrors());
  RETURN_IF_ERROR(reading(1.0));
  RETURN_IF_ERROR(FillReport(plan, &data));
  if (progress_) RETURN_IF_ERROR(progress_(1.0));
  return data;
}

}  // namespace

absl::StatusOr<PreparedData> PrepareData(const v1::JobConfig& config, const TextPipeline& text,
                                         const PrepareProgress& progress,
                                         const PrepareOptions& options) {
  return Preparation(config, text, progress, options).Run();
}

DataLoaderOptions LoaderOptions(const v1::JobConfig& config) {
  const v1::TrainConfig& train = config.train();
  return {.batch_size = train.batch_size(),
          .gradient_accumulation = train.gradient_accumulation(),
          .epochs = train.epochs(),
          .max_steps = train.max_steps(),
          .seed = train.seed(),
          .shuffle = config.data().shuffle()};
}

absl::StatusOr<std::string> FirstRowsDigest(const PreparedData& data, const v1::JobConfig& config,
                                            int64_t count) {
  const DataLoader loader(*data.store, data.train_sequences, LoaderOptions(config));
  const std::vector<int64_t> order = loader.EpochOrder(0);
  Xxh3Stream hash;
  for (size_t i = 0; i < order.size() && static_cast<int64_t>(i) < count; ++i) {
    ASSIGN_OR_RETURN(const Microbatch row,
                     MakeMicrobatch(*data.store, data.train_sequences, {order[i]}));
    HashTokens(row, &hash);
  }
  return ToHex(hash.Digest());
}

}  // namespace trainerd::engine
