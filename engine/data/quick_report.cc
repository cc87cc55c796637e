// SPDX-License-Identifier: Apache-2.0
#include "engine/data/quick_report.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/data/example.h"
#include "engine/data/findings.h"
#include "engine/data/jsonl_reader.h"

namespace trainerd::engine {
namespace {

constexpr double kBytesPerToken = 4;

bool Exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

// Estimated size of one file.
struct FileEstimate {
  double rows = 0;
  std::vector<double> row_bytes;  // of the rows that were read
};

class QuickCheck {
 public:
  explicit QuickCheck(const v1::JobConfig& config)
      : config_(config),
        bad_rows_fail_(config.data().bad_rows() != "skip"),
        findings_(config.data()) {}

  v1::DataReport Run();

 private:
  void CheckModel();
  // `file`: as in DataPlace.
  FileEstimate CheckFile(const std::string& path, int32_t file);
  void CheckRow(const JsonlLine& line, int32_t file);
  void CheckTail(const std::string& path, int64_t size);

  const v1::JobConfig& config_;
  const bool bad_rows_fail_;
  Findings findings_;
  ConversationParser parser_;
  SourceFormat format_ = SourceFormat::kMessages;  // of the file at hand
  FileFormats formats_;
};

void QuickCheck::CheckModel() {
  const std::string& folder = config_.model().path();
  for (const char* name : {"config.json", "tokenizer.json"}) {
    const std::string path = absl::StrCat(folder, "/", name);
    if (Exists(path)) continue;
    findings_.AddElsewhere(
        "MODEL_FOLDER", true, path,
        absl::StrCat("model.path needs a Hugging Face folder; ", path, " is not there"));
  }
  const std::string& chat_template = config_.data().chat_template();
  if (chat_template.empty() || chat_template == "model" || chat_template == "chatml") return;
  if (!Exists(chat_template)) {
    findings_.AddElsewhere("TEMPLATE_FILE", true, chat_template,
                           absl::StrCat("data.chat_template: ", chat_template, " is not there"));
  }
}

void QuickCheck::CheckRow(const JsonlLine& line, int32_t file) {
  Conversation conversation;
  std::optional<RowFault> fault;
  if (line.too_long) {
    fault = RowFault{.code = "LINE_TOO_LONG", .message = "the line is longer than 100 MB"};
  } else {
    fault = parser_.Parse(line.text, format_, &conversation);
  }
  DataPlace place{.file = file, .line = line.number};
  if (fault) {
    place.column = fault->column;
    findings_.Add(fault->code, bad_rows_fail_, place, fault->message);
    return;
  }
  if (config_.data().train_on() == "all") return;
  for (const auto& message : conversation.messages) {
    if (message["role"] == "assistant") return;
  }
  findings_.Add("NO_ASSISTANT", false, place, "the conversation has no assistant message");
}

// The last row of a file that is too long to be read: a file that was cut off ends inside it.
void QuickCheck::CheckTail(const std::string& path, int64_t size) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const int64_t wanted = std::min(size, kQuickTailBytes);
  std::string tail(static_cast<size_t>(wanted) + kJsonPadding, '\0');
  const ssize_t count = pread(fd, tail.data(), static_cast<size_t>(wanted), size - wanted);
  close(fd);
  if (count <= 0) return;
  const bool terminated = tail[static_cast<size_t>(count) - 1] == '\n';
  size_t end = static_cast<size_t>(count);
  while (end > 0 && (tail[end - 1] == '\n' || tail[end - 1] == '\r')) --end;
  const size_t newline = end == 0 ? std::string::npos : tail.rfind('\n', end - 1);
  if (newline == std::string::npos) return;  // the last row is longer than the tail
  Conversation conversation;
  const std::string_view line(tail.data() + newline + 1, end - newline - 1);
  const auto fault = parser_.Parse(line, format_, &conversation);
  if (!fault) return;
  findings_.AddElsewhere(
      fault->code, bad_rows_fail_, absl::StrCat(path, ":last line"),
      absl::StrCat(
          fault->message,
          terminated ? "" : "; the file ends inside this row: it was cut off, copy it again"));
}

FileEstimate QuickCheck::CheckFile(const std::string& path, int32_t file) {
  FileEstimate estimate;
  JsonlReader::Options options;
  options.block_bytes = 1 << 20;
  auto reader = JsonlReader::Open(path, options);
  if (!reader.ok()) {
    findings_.AddElsewhere("BAD_FILE", true, path, std::string(reader.status().message()));
    return estimate;
  }
  std::vector<JsonlLine> lines;
  int64_t text_bytes = 0;
  bool finished = false, format_known = false;
  while (text_bytes < kQuickHeadBytes && !finished) {
    const absl::Status status = (*reader)->ReadBlock(&lines);
    if (!status.ok()) {
      findings_.AddElsewhere("BAD_FILE", true, path, std::string(status.message()));
      return estimate;
    }
    finished = lines.empty();
    for (size_t i = 0; i < lines.size() && !format_known; ++i) {
      const auto format = parser_.Detect(lines[i].text);
      format_known = format.has_value();
      format_ = format.value_or(SourceFormat::kMessages);
    }
    for (const JsonlLine& line : lines) {
      CheckRow(line, file);
      estimate.row_bytes.push_back(static_cast<double>(line.text.size()));
      text_bytes += static_cast<int64_t>(line.text.size()) + 1;
    }
  }
  formats_.emplace_back(path, format_);
  if (estimate.row_bytes.empty()) {
    findings_.AddElsewhere(
        "BAD_FILE", true, path,
        absl::StrCat(path, ": has only blank lines; it needs one JSON object a line"));
    return estimate;
  }
  const double done = static_cast<double>(std::max<int64_t>(1, (*reader)->bytes_done()));
  estimate.rows = static_cast<double>(estimate.row_bytes.size());
  if (!finished && (*reader)->bytes_done() < (*reader)->size_bytes()) {
    estimate.rows *= static_cast<double>((*reader)->size_bytes()) / done;
    if (!(*reader)->compressed()) CheckTail(path, (*reader)->size_bytes());
  }
  return estimate;
}

v1::DataReport QuickCheck::Run() {
  CheckModel();
  double rows = 0;
  std::vector<double> row_bytes;
  const int32_t num_train = config_.data().train_size();
  for (int32_t i = 0; i < num_train; ++i) {
    FileEstimate estimate = CheckFile(config_.data().train(i).path(), i);
    rows += estimate.rows;
    row_bytes.insert(row_bytes.end(), estimate.row_bytes.begin(), estimate.row_bytes.end());
  }
  double validation_rows = 0;
  if (!config_.data().validation().empty()) {
    validation_rows = CheckFile(config_.data().validation(), num_train).rows;
  }
  v1::DataReport report;
  report.set_quick(true);
  report.set_format(FormatsText(formats_));
  report.set_examples(static_cast<int64_t>(rows));
  report.set_validation_examples(static_cast<int64_t>(validation_rows));
  if (!row_bytes.empty()) {
    std::sort(row_bytes.begin(), row_bytes.end());
    const auto at = [&](double share) {
      return row_bytes[static_cast<size_t>(share * static_cast<double>(row_bytes.size() - 1))] /
             kBytesPerToken;
    };
    double sum = 0;
    for (const double bytes : row_bytes) sum += bytes;
    v1::DataReport::Lengths* tokens = report.mutable_tokens();
    tokens->set_count(report.examples());
    tokens->set_total(
        static_cast<int64_t>(sum / static_cast<double>(row_bytes.size()) * rows / kBytesPerToken));
    tokens->set_p50(at(0.50));
    tokens->set_p95(at(0.95));
    tokens->set_p99(at(0.99));
    tokens->set_max(static_cast<int64_t>(at(1.0)));
  }
  findings_.AppendTo(&report);
  return report;
}

}  // namespace

v1::DataReport QuickReport(const v1::JobConfig& config) { return QuickCheck(config).Run(); }

}  // namespace trainerd::engine
