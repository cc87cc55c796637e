// SPDX-License-Identifier: Apache-2.0
#include "client/view/report_text.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {

namespace {

// "job.yaml:2" for a finding about a key of the job file; "" without a line, as for --set.
std::string LocationInJobFile(const v1::DataReport::Finding& finding, const JobFile& job) {
  constexpr struct {
    absl::string_view code, key;
  } kKeys[] = {{"MODEL_FOLDER", "model.path"},
               {"MODEL_CONFIG", "model.path"},
               {"MODEL_WEIGHTS", "model.path"},
               {"UNEXPECTED_TENSORS", "model.path"},
               {"UNTIED_HEAD", "model.path"},
               {"TOKENIZER", "model.path"},
               {"TOKEN_BEYOND_EMBEDDING", "model.path"},
               {"CHAT_TEMPLATE", "data.chat_template"},
               {"TEMPLATE_FILE", "data.chat_template"},
               {"SAMPLE_PROMPTS", "samples.prompts"},
               {"FREEZE", "train.freeze"},
               {"LORA", "lora.target_modules"},
               {"ADAPTER", "lora.adapter_path"},
               {"INIT_FROM", "init_from.checkpoint"},
               {"OPTIMIZER_STATE", "init_from.state"},
               {"MAX_LENGTH", "data.max_length"},
               {"WARM_UP", "schedule.warmup_steps"}};
  const auto* known = std::find_if(std::begin(kKeys), std::end(kKeys),
                                   [&](const auto& entry) { return entry.code == finding.code(); });
  const auto line = job.lines.find(known == std::end(kKeys) ? "" : std::string(known->key));
  return line == job.lines.end() ? "" : absl::StrCat(job.path, ":", line->second);
}

std::string TokensText(const v1::DataReport& report) {
  const auto& tokens = report.tokens();
  if (report.quick()) {
    return absl::StrCat("about ", FormatCount(tokens.total()),
                        " (estimated by size, without what the chat template adds; trainctl "
                        "validate --full counts them)");
  }
  return absl::StrCat(
      FormatCount(tokens.total()),
      report.format() == "preference" ? "; a prompt with an answer has p50 "
                                      : "; a conversation has p50 ",
      FormatCount(std::llround(tokens.p50())), ", p95 ", FormatCount(std::llround(tokens.p95())),
      ", p99 ", FormatCount(std::llround(tokens.p99())), ", at most ", FormatCount(tokens.max()));
}

std::string DiskText(const v1::DataReport::DiskUse& disk) {
  const std::string checkpoints =
      disk.checkpoint_count() == 1
          ? absl::StrCat("a checkpoint of ", FormatBytes(disk.checkpoint_bytes()))
          : absl::StrCat("up to ", disk.checkpoint_count(), " checkpoints of ",
                         FormatBytes(disk.checkpoint_bytes()));
  // output.path is on the same disk.
  const bool is_copied =
      disk.needed_bytes() > disk.checkpoint_count() * disk.checkpoint_bytes() + disk.final_bytes();
  std::string text = absl::StrCat("at most ", FormatBytes(disk.needed_bytes()), ": ", checkpoints,
                                  " and the final model of ", FormatBytes(disk.final_bytes()),
                                  is_copied ? " with its copy in output.path" : "");
  if (disk.has_free_bytes())
    absl::StrAppend(&text, "; ", FormatBytes(disk.free_bytes()), " are free in ", disk.folder());
  if (disk.has_output_free_bytes())
    absl::StrAppend(&text, ", ", FormatBytes(disk.output_free_bytes()), " for output.path");
  return text;
}

// Prints which part of the data a quick report covers.
void PrintCoverage(const v1::DataReport& report, std::ostream& out) {
  if (report.findings().empty())
    out << (report.quick() ? "no findings in the data that was read\n" : "no findings\n");
  if (!report.quick()) return;
  // The finding names the file that could not be read, so nothing here would be true of all files.
  for (const auto& finding : report.findings()) {
    if (finding.code() == "BAD_FILE") return;
  }
  out << (AllWasRead(report)
              ? "all records were read, but without tokenizer and template; trainctl validate "
                "--full applies them\n"
              : "only the beginning and end of each file were read; trainctl validate --full reads "
                "all data\n");
}

}  // namespace

bool HasErrors(const v1::DataReport& report) {
  for (const auto& finding : report.findings()) {
    if (finding.error()) return true;
  }
  return false;
}

bool AllWasRead(const v1::DataReport& report) {
  return !report.quick() ||
         report.tokens().count() >= report.examples() + report.validation_examples();
}

void PrintFindings(const v1::DataReport& report, std::ostream& out, const JobFile* job) {
  for (const auto& finding : report.findings()) {
    std::string line = absl::StrCat(finding.error() ? "error " : "warning ", finding.code());
    if (finding.count() > 1) absl::StrAppend(&line, " (", Counted(finding.count(), "time"), ")");
    absl::StrAppend(&line, ": ", finding.message());
    std::vector<std::string> places(finding.first_places().begin(), finding.first_places().end());
    const bool more = !places.empty() && finding.count() > finding.first_places_size();
    const std::string in_job = job == nullptr ? "" : LocationInJobFile(finding, *job);
    if (!in_job.empty()) places.insert(places.begin(), in_job);
    if (!places.empty()) {
      absl::StrAppend(&line, " [", absl::StrJoin(places, ", "), more ? ", …]" : "]");
    }
    out << PlainText(line) << "\n";
  }
}

void PrintDiskUse(const v1::DataReport& report, std::ostream& out) {
  if (report.has_disk()) out << "disk: " << PlainText(DiskText(report.disk())) << "\n";
}

void PrintReport(const v1::DataReport& report, std::ostream& out, const JobFile* job) {
  const auto line = [&out](const char* label, const std::string& text) {
    out << PadRight(label, 18) << PlainText(text) << "\n";
  };
  const bool estimated = !AllWasRead(report);
  line("examples", estimated ? absl::StrCat("about ", FormatCount(report.examples()),
                                            " (estimated: a part of the data was read)")
                             : FormatCount(report.examples()));
  if (!report.format().empty()) line("format", report.format());
  if (report.trained_examples() > 0) line("trained on", FormatCount(report.trained_examples()));
  if (report.validation_examples() > 0)
    line("validation",
         absl::StrCat(estimated ? "about " : "", FormatCount(report.validation_examples())));
  if (report.has_tokens() && report.tokens().count() > 0) line("tokens", TokensText(report));
  if (report.target_tokens() > 0) line("target tokens", FormatCount(report.target_tokens()));
  if (report.truncated() > 0) line("truncated", FormatCount(report.truncated()));
  if (report.rows() > 0) {
    line("sequences",
         absl::StrCat(
             FormatCount(report.rows()),
             report.has_fill() ? absl::StrCat(", filled to ", FormatPercent(report.fill())) : ""));
  }
  if (report.has_total_steps()) line("optimizer steps", FormatCount(report.total_steps()));
  if (report.has_disk()) line("disk", DiskText(report.disk()));
  PrintFindings(report, out, job);
  PrintCoverage(report, out);
}

}  // namespace trainerd::client
