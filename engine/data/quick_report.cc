// SPDX-License-Identifier: Apache-2.0
#include "engine/data/quick_report.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/data/source/conversation.h"
#include "engine/data/source/findings.h"
#include "engine/data/source/jsonl_reader.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

constexpr double kBytesPerToken = 4;

// What was read of one file, and how many rows it has by that.
struct FileEstimate {
  double rows = 0;  // exact when all of the file was read, else more than rows_read
  int64_t rows_read = 0;
  double bytes_read = 0;  // of the rows that were read
};

// Whether the file ends after the part that was read. For a compressed file, only further reading
// shows it.
absl::StatusOr<bool> IsAtEnd(JsonlReader& reader) {
  if (!reader.compressed()) return reader.bytes_done() >= reader.size_bytes();
  std::vector<JsonlLine> lines;
  RETURN_IF_ERROR(reader.ReadBlock(&lines));
  return lines.empty();
}

class QuickCheck {
 public:
  QuickCheck(const v1::JobConfig& config, const QuickRowCheck& row_check)
      : config_(config),
        row_check_(row_check),
        bad_rows_fail_(!SkipsBadRecords(config.data().bad_rows())),
        findings_(config.data()) {}

  v1::DataReport Run();

 private:
  // `file`: as in RecordLocation.
  FileEstimate CheckFile(const std::string& path, int32_t file);
  // The same; the error is why the file cannot be read.
  absl::StatusOr<FileEstimate> ReadRows(const std::string& path, int32_t file);
  void CheckRow(const JsonlLine& line, int32_t file);
  void CheckTail(const std::string& path, int64_t size);

  const v1::JobConfig& config_;
  const QuickRowCheck& row_check_;
  const bool bad_rows_fail_;
  Findings findings_;
  ConversationParser parser_;
  SourceFormat format_ = SourceFormat::kMessages;  // of the file at hand
  FileFormats formats_;
};

void QuickCheck::CheckRow(const JsonlLine& line, int32_t file) {
  Conversation conversation;
  std::optional<RecordError> fault;
  if (line.too_long) {
    fault = TooLongLine();
  } else {
    fault = parser_.Parse(line.text, format_, &conversation, line.unterminated);
    if (fault) LocateInFile(line, &*fault);
  }
  RecordLocation place{.file = file, .line = line.number};
  if (fault) {
    place.line += fault->lines_down;
    place.column = fault->column;
    if (fault->fatal) {
      findings_.Add(fault->code, /*error=*/true, place, fault->message);
    } else {
      findings_.AddBadRecord(fault->code, bad_rows_fail_, place, fault->message);
    }
    return;
  }
  if (row_check_) {
    if (const std::optional<RecordError> unusable = row_check_(conversation); unusable)
      findings_.Add(unusable->code, /*error=*/true, place, unusable->message);
  }
  findings_.AddUnusedKeys(conversation.unused_keys, place);
  if (conversation.text || TrainsAllTokens(config_.data().train_on())) return;
  for (const auto& message : conversation.messages) {
    if (message["role"] == "assistant") return;
  }
  findings_.Add("NO_ASSISTANT", false, place, "the conversation has no assistant message");
}

// The last row of a file that is too long to be read: a file that was cut off ends inside it.
void QuickCheck::CheckTail(const std::string& path, int64_t size) {
  const absl::StatusOr<Fd> fd = OpenRegularFile(path);
  if (!fd.ok()) return;
  const int64_t tail_bytes = std::min(size, kQuickTailBytes);
  std::string tail(static_cast<size_t>(tail_bytes) + kJsonPadding, '\0');
  const ssize_t count =
      pread(fd->get(), tail.data(), static_cast<size_t>(tail_bytes), size - tail_bytes);
  if (count <= 0) return;
  const bool terminated = tail[static_cast<size_t>(count) - 1] == '\n';
  size_t end = static_cast<size_t>(count);
  while (end > 0 && (tail[end - 1] == '\n' || tail[end - 1] == '\r')) --end;
  const size_t newline = end == 0 ? std::string::npos : tail.rfind('\n', end - 1);
  if (newline == std::string::npos) return;  // the last row is longer than the tail
  Conversation conversation;
  const std::string_view line(tail.data() + newline + 1, end - newline - 1);
  const auto fault = parser_.Parse(line, format_, &conversation, /*unterminated=*/!terminated);
  if (!fault) return;
  findings_.AddElsewhere(fault->code, bad_rows_fail_ || fault->fatal,
                         absl::StrCat(path, ":last line"), fault->message);
}

FileEstimate QuickCheck::CheckFile(const std::string& path, int32_t file) {
  const absl::StatusOr<FileEstimate> estimate = ReadRows(path, file);
  if (estimate.ok()) return *estimate;
  findings_.AddElsewhere("BAD_FILE", true, path, std::string(estimate.status().message()));
  return {};
}

absl::StatusOr<FileEstimate> QuickCheck::ReadRows(const std::string& path, int32_t file) {
  FileEstimate estimate;
  JsonlReader::Options options;
  options.block_bytes = 1 << 20;
  ASSIGN_OR_RETURN(const std::unique_ptr<JsonlReader> reader, JsonlReader::Open(path, options));
  std::vector<JsonlLine> lines;
  int64_t text_bytes = 0;
  bool finished = false, format_known = config_.has_preference();
  format_ = format_known ? SourceFormat::kPreference : SourceFormat::kMessages;
  while (text_bytes < kQuickHeadBytes && !finished) {
    RETURN_IF_ERROR(reader->ReadBlock(&lines));
    finished = lines.empty();
    for (size_t i = 0; i < lines.size() && !format_known; ++i) {
      const auto format = parser_.Detect(lines[i].text);
      format_known = format.has_value();
      format_ = format.value_or(SourceFormat::kMessages);
    }
    for (const JsonlLine& line : lines) {
      CheckRow(line, file);
      ++estimate.rows_read;
      estimate.bytes_read += static_cast<double>(line.text.size());
      text_bytes += static_cast<int64_t>(line.text.size()) + 1;
    }
  }
  formats_.emplace_back(path, format_);
  if (estimate.rows_read == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has only blank lines; it needs one JSON object per line"));
  }
  estimate.rows = static_cast<double>(estimate.rows_read);
  const double done = static_cast<double>(std::max<int64_t>(1, reader->bytes_done()));
  if (finished) return estimate;
  ASSIGN_OR_RETURN(const bool at_end, IsAtEnd(*reader));
  if (at_end) return estimate;
  // More than was read, whatever the rounding: the two numbers say whether there is more.
  estimate.rows =
      std::max(estimate.rows * static_cast<double>(reader->size_bytes()) / done, estimate.rows + 1);
  if (!reader->compressed() && !reader->is_array()) CheckTail(path, reader->size_bytes());
  return estimate;
}

v1::DataReport QuickCheck::Run() {
  FileEstimate train;
  const int32_t num_train = config_.data().train_size();
  for (int32_t i = 0; i < num_train; ++i) {
    const FileEstimate file = CheckFile(config_.data().train(i).path(), i);
    train.rows += file.rows;
    train.rows_read += file.rows_read;
    train.bytes_read += file.bytes_read;
  }
  FileEstimate validation;
  if (!config_.data().validation().empty())
    validation = CheckFile(config_.data().validation(), num_train);
  v1::DataReport report;
  report.set_quick(true);
  report.set_format(FormatsText(formats_));
  report.set_examples(static_cast<int64_t>(train.rows));
  report.set_validation_examples(static_cast<int64_t>(validation.rows));
  if (train.rows_read + validation.rows_read > 0) {
    v1::DataReport::Lengths* tokens = report.mutable_tokens();
    tokens->set_count(train.rows_read + validation.rows_read);
    // No percentiles: without tokenizer and template they would be wrong by a factor, and whoever
    // saw them would set data.max_length by them.
    if (train.rows_read > 0) {
      tokens->set_total(static_cast<int64_t>(
          train.bytes_read / static_cast<double>(train.rows_read) * train.rows / kBytesPerToken));
    }
  }
  findings_.AppendTo(&report);
  return report;
}

}  // namespace

v1::DataReport QuickReport(const v1::JobConfig& config, const QuickRowCheck& row_check) {
  return QuickCheck(config, row_check).Run();
}

std::optional<int64_t> QuickStepsAtMost(const v1::JobConfig& config, const v1::DataReport& quick) {
  const bool read_all = quick.tokens().count() == quick.examples() + quick.validation_examples();
  if (!read_all || SplitsLongExamples(config.data().packing())) return std::nullopt;
  for (const v1::DataSource& source : config.data().train()) {
    if (source.weight() > 1) return std::nullopt;
  }
  const int64_t per_step =
      int64_t{config.train().batch_size()} * config.train().gradient_accumulation();
  const int64_t per_epoch = (quick.examples() + per_step - 1) / per_step;
  return static_cast<int64_t>(std::ceil(config.train().epochs() * static_cast<double>(per_epoch)));
}

}  // namespace trainerd::engine
