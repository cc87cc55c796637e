// SPDX-License-Identifier: Apache-2.0
#include "engine/data/prepare.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/counter_rng.h"
#include "engine/data/example_set.h"
#include "engine/data/findings.h"
#include "engine/data/row_pipeline.h"
#include "engine/data/row_stream.h"
#include "engine/data/selection.h"
#include "proto/contract/hash.h"
#include "proto/contract/status_macros.h"

namespace trainerd::engine {
namespace {

// Share of the progress that reading and tokenising take; the rest is packing and the report.
constexpr double kReadingShare = 0.95;

int64_t FileBytes(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? info.st_size : 0;
}

// Linear between the two nearest values, as numpy.percentile.
double Percentile(const std::vector<int64_t>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double low = static_cast<double>(sorted[below]), high = static_cast<double>(sorted[above]);
  return low + (place - static_cast<double>(below)) * (high - low);
}

void FillLengths(std::vector<int64_t> lengths, v1::DataReport::Lengths* report) {
  report->set_count(static_cast<int64_t>(lengths.size()));
  if (lengths.empty()) return;
  std::sort(lengths.begin(), lengths.end());
  int64_t total = 0;
  for (const int64_t length : lengths) total += length;
  report->set_total(total);
  report->set_p50(Percentile(lengths, 0.50));
  report->set_p95(Percentile(lengths, 0.95));
  report->set_p99(Percentile(lengths, 0.99));
  report->set_max(lengths.back());
}

void HashInts(const std::vector<int32_t>& values, Xxh3Stream* hash) {
  hash->Update(values.data(), values.size() * sizeof(int32_t));
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
        train_(config.data(), text.tokenizer->UnspellableExample(), options.keep_going, &findings_),
        validation_(config.data(), text.tokenizer->UnspellableExample(), options.keep_going,
                    &findings_) {}

  absl::StatusOr<PreparedData> Run();

 private:
  absl::Status ReadFiles();
  absl::Status ReadFile(const std::string& path, int32_t source, ExampleSet* set);
  absl::Status RequireExamples(const ExampleSet& set, const std::string& what, size_t count);
  void SplitValidation();
  void FindOverlap();
  // Which examples are trained in an epoch, as positions in the training set; drops those that a
  // weight leaves out.
  std::vector<int64_t> ApplyWeights();
  absl::StatusOr<std::vector<PackedRow>> Pack(const std::vector<TokenExample>& examples,
                                              const std::vector<int64_t>& occurrences) const;
  void FillReport(PreparedData* data) const;

  const v1::JobConfig& config_;
  const TextPipeline& text_;
  const PrepareProgress& progress_;
  const PrepareOptions options_;
  std::unique_ptr<RowPipeline> pipeline_;
  Findings findings_;
  ExampleSet train_;
  ExampleSet validation_;
  FileFormats formats_;
  int64_t bytes_total_ = 0;
  int64_t bytes_done_ = 0;  // of finished files
};

absl::Status Preparation::ReadFile(const std::string& path, int32_t source, ExampleSet* set) {
  const RowStreamOptions options{
      .num_threads = options_.num_threads > 0 ? options_.num_threads : DefaultRowThreads(),
      .first_index = set->rows_read()};
  const int64_t rows_before = set->rows_read();
  const absl::StatusOr<SourceFormat> format = StreamRows(
      path, *pipeline_, options,
      [&](TokenRow row, int64_t line) { return set->Add(std::move(row), path, line, source); },
      [&](int64_t bytes) {
        if (!progress_) return absl::OkStatus();
        const double done = static_cast<double>(bytes_done_ + bytes);
        return progress_(kReadingShare * done /
                         static_cast<double>(std::max<int64_t>(1, bytes_total_)));
      });
  absl::Status status = format.status();
  if (format.ok()) formats_.emplace_back(path, *format);
  bytes_done_ += FileBytes(path);
  if (status.ok() && set->rows_read() == rows_before) {
    status = absl::InvalidArgumentError(
        absl::StrCat(path, ": has only blank lines; it needs one JSON object a line"));
  }
  if (!status.ok() && options_.keep_going && !absl::IsCancelled(status)) {
    findings_.Add("BAD_FILE", true, path, std::string(status.message()));
    return absl::OkStatus();
  }
  return status;
}

absl::Status Preparation::ReadFiles() {
  const v1::DataConfig& data = config_.data();
  for (const v1::DataSource& source : data.train()) bytes_total_ += FileBytes(source.path());
  if (!data.validation().empty()) bytes_total_ += FileBytes(data.validation());
  for (int32_t i = 0; i < data.train_size(); ++i) {
    RETURN_IF_ERROR(ReadFile(data.train(i).path(), i, &train_));
  }
  if (!data.validation().empty()) RETURN_IF_ERROR(ReadFile(data.validation(), 0, &validation_));
  return absl::OkStatus();
}

absl::Status Preparation::RequireExamples(const ExampleSet& set, const std::string& what,
                                          size_t count) {
  if (count > 0) return absl::OkStatus();
  const std::string message =
      absl::StrCat(what, ": no row can be trained on: ", set.Summary(),
                   "; check the roles of the messages, data.train_on and data.max_length");
  if (!options_.keep_going) return absl::InvalidArgumentError(message);
  findings_.Add("NO_ROWS", true, "", message);
  return absl::OkStatus();
}

void Preparation::SplitValidation() {
  const double share = config_.data().validation_fraction();
  auto& examples = train_.examples();
  if (!(share > 0) || examples.size() < 2) return;
  const int64_t count = static_cast<int64_t>(examples.size());
  const int64_t chosen =
      std::clamp<int64_t>(std::llround(share * static_cast<double>(count)), 1, count - 1);
  const CounterRng rng(config_.train().seed(), RngPurpose::kValidationSplit, 0);
  std::vector<bool> moved(examples.size(), false);
  for (const int64_t i : ChooseSeeded(count, chosen, rng)) moved[static_cast<size_t>(i)] = true;
  size_t kept = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    if (moved[i]) {
      validation_.examples().push_back(std::move(examples[i]));
      validation_.infos().push_back(train_.infos()[i]);
    } else {
      if (kept != i) {
        examples[kept] = std::move(examples[i]);
        train_.infos()[kept] = train_.infos()[i];
      }
      ++kept;
    }
  }
  examples.resize(kept);
  train_.infos().resize(kept);
}

void Preparation::FindOverlap() {
  std::vector<uint64_t> hashes;
  for (const ExampleSet::Info& info : train_.infos()) hashes.push_back(info.text_hash);
  std::sort(hashes.begin(), hashes.end());
  for (const ExampleSet::Info& info : validation_.infos()) {
    if (!std::binary_search(hashes.begin(), hashes.end(), info.text_hash)) continue;
    const std::string place = validation_.PlaceOf(info.text_hash);
    findings_.Add("OVERLAP", false, place.empty() ? train_.PlaceOf(info.text_hash) : place,
                  "a validation conversation is trained on too: the validation loss will flatter");
  }
}

std::vector<int64_t> Preparation::ApplyWeights() {
  auto& examples = train_.examples();
  auto& infos = train_.infos();
  std::vector<int64_t> occurrences;
  size_t kept = 0;
  for (size_t begin = 0; begin < examples.size();) {
    size_t end = begin;
    while (end < examples.size() && infos[end].source == infos[begin].source) ++end;
    const v1::DataSource& source = config_.data().train(infos[begin].source);
    const CounterRng rng(config_.train().seed(), RngPurpose::kSourceWeight, infos[begin].source);
    const std::vector<int32_t> copies = CopiesForWeight(
        static_cast<int64_t>(end - begin), source.has_weight() ? source.weight() : 1.0, rng);
    for (size_t i = begin; i < end; ++i) {
      const int32_t times = copies[i - begin];
      if (times == 0) continue;
      for (int32_t time = 0; time < times; ++time) {
        occurrences.push_back(static_cast<int64_t>(kept));
      }
      if (kept != i) {
        examples[kept] = std::move(examples[i]);
        infos[kept] = infos[i];
      }
      ++kept;
    }
    begin = end;
  }
  examples.resize(kept);
  infos.resize(kept);
  return occurrences;
}

absl::StatusOr<std::vector<PackedRow>> Preparation::Pack(
    const std::vector<TokenExample>& examples, const std::vector<int64_t>& occurrences) const {
  std::vector<PackedRow> rows;
  if (config_.data().packing() == "none") {
    rows = OneDocumentRows(static_cast<int64_t>(occurrences.size()));
  } else {
    std::vector<int64_t> lengths;
    lengths.reserve(occurrences.size());
    for (const int64_t example : occurrences) {
      lengths.push_back(static_cast<int64_t>(examples[static_cast<size_t>(example)].ids.size()));
    }
    ASSIGN_OR_RETURN(rows, PackBestFitDecreasing(lengths, config_.data().max_length()));
  }
  for (PackedRow& row : rows) {
    for (int64_t& document : row.documents) document = occurrences[static_cast<size_t>(document)];
  }
  return rows;
}

void Preparation::FillReport(PreparedData* data) const {
  v1::DataReport& report = data->report;
  report.set_format(FormatsText(formats_));
  report.set_examples(train_.rows_read());
  report.set_trained_examples(static_cast<int64_t>(data->train.size()));
  report.set_validation_examples(static_cast<int64_t>(data->validation.size()));
  report.set_rows(static_cast<int64_t>(data->train_rows.size()));
  report.set_truncated(train_.rows_truncated());
  findings_.AppendTo(&report);

  Xxh3Stream fingerprint;
  std::vector<int64_t> targets;
  for (const TokenExample& example : data->train) {
    HashInts(example.ids, &fingerprint);
    HashInts(example.labels, &fingerprint);
    targets.push_back(example.CountTargets());
  }
  report.set_fingerprint(fingerprint.Digest());
  int64_t row_tokens = 0, row_targets = 0;
  for (const PackedRow& row : data->train_rows) {
    for (const int64_t document : row.documents) {
      row_tokens += static_cast<int64_t>(data->train[static_cast<size_t>(document)].ids.size());
      row_targets += targets[static_cast<size_t>(document)];
    }
  }
  report.set_target_tokens(row_targets);
  if (config_.data().packing() != "none" && !data->train_rows.empty()) {
    report.set_fill(static_cast<double>(row_tokens) /
                    (static_cast<double>(data->train_rows.size()) * config_.data().max_length()));
  }
  report.set_total_steps(
      DataLoader(data->train, data->train_rows, LoaderOptions(config_)).total_steps());
}

absl::StatusOr<PreparedData> Preparation::Run() {
  ASSIGN_OR_RETURN(pipeline_, RowPipeline::Create(config_, text_));
  const std::string& profile = config_.data().profile();
  if (!profile.empty() && profile != "none" &&
      text_.chat_template->source().find("<think>") != std::string::npos) {
    findings_.Add("TWO_THINKING_FORMS", false, "",
                  absl::StrCat("profile ", profile,
                               " and a template that writes <think> blocks "
                               "teach two ways to think; set data.chat_template: chatml"));
  }
  RETURN_IF_ERROR(ReadFiles());
  RETURN_IF_ERROR(RequireExamples(train_, "data.train", train_.examples().size()));
  SplitValidation();
  if (!config_.data().validation().empty()) {
    RETURN_IF_ERROR(
        RequireExamples(validation_, config_.data().validation(), validation_.examples().size()));
  }
  FindOverlap();

  PreparedData data;
  const std::vector<int64_t> occurrences = ApplyWeights();
  std::vector<int64_t> lengths;
  for (const ExampleSet::Info& info : train_.infos()) lengths.push_back(info.num_tokens);
  FillLengths(std::move(lengths), data.report.mutable_tokens());
  data.train = std::move(train_.examples());
  data.validation = std::move(validation_.examples());
  ASSIGN_OR_RETURN(data.train_rows, Pack(data.train, occurrences));
  std::vector<int64_t> all(data.validation.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  ASSIGN_OR_RETURN(data.validation_rows, Pack(data.validation, all));
  FillReport(&data);
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

std::string FirstRowsDigest(const PreparedData& data, const v1::JobConfig& config, int64_t count) {
  const DataLoader loader(data.train, data.train_rows, LoaderOptions(config));
  const std::vector<int64_t> order = loader.EpochOrder(0);
  Xxh3Stream hash;
  for (size_t i = 0; i < order.size() && static_cast<int64_t>(i) < count; ++i) {
    const Microbatch row =
        MakeMicrobatch(data.train, {&data.train_rows[static_cast<size_t>(order[i])]});
    HashInts(row.ids, &hash);
    HashInts(row.labels, &hash);
  }
  return ToHex(hash.Digest());
}

}  // namespace trainerd::engine
