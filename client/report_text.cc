// SPDX-License-Identifier: Apache-2.0
#include "client/report_text.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/format.h"
#include "client/text_width.h"

namespace trainerd::client {

bool HasErrors(const v1::DataReport& report) {
  for (const auto& finding : report.findings()) {
    if (finding.error()) return true;
  }
  return false;
}

void PrintFindings(const v1::DataReport& report, std::ostream& out) {
  for (const auto& finding : report.findings()) {
    std::string line = absl::StrCat(finding.error() ? "error " : "warning ", finding.code());
    if (finding.count() > 1) absl::StrAppend(&line, " (", FormatCount(finding.count()), " times)");
    absl::StrAppend(&line, ": ", finding.message());
    if (!finding.first_places().empty()) {
      absl::StrAppend(&line, " [", absl::StrJoin(finding.first_places(), ", "),
                      finding.count() > finding.first_places_size() ? ", …]" : "]");
    }
    out << PlainText(line) << "\n";
  }
}

void PrintReport(const v1::DataReport& report, std::ostream& out) {
  const auto line = [&out](const char* label, const std::string& text) {
    out << PadRight(label, 18) << PlainText(text) << "\n";
  };
  line("examples",
       absl::StrCat(FormatCount(report.examples()),
                    report.quick() ? " (quick look: a part of the data was read)" : ""));
  if (!report.format().empty()) line("format", report.format());
  if (report.trained_examples() > 0) line("trained on", FormatCount(report.trained_examples()));
  if (report.validation_examples() > 0)
    line("validation", FormatCount(report.validation_examples()));
  if (report.has_tokens() && report.tokens().count() > 0) {
    const auto& tokens = report.tokens();
    line("tokens", absl::StrCat(FormatCount(tokens.total()), "; a conversation has p50 ",
                                FormatCount(std::llround(tokens.p50())), ", p95 ",
                                FormatCount(std::llround(tokens.p95())), ", p99 ",
                                FormatCount(std::llround(tokens.p99())), ", at most ",
                                FormatCount(tokens.max())));
  }
  if (report.target_tokens() > 0) line("target tokens", FormatCount(report.target_tokens()));
  if (report.truncated() > 0) line("truncated", FormatCount(report.truncated()));
  if (report.rows() > 0) {
    line("rows",
         absl::StrCat(
             FormatCount(report.rows()),
             report.has_fill() ? absl::StrCat(", filled to ", FormatPercent(report.fill())) : ""));
  }
  if (report.has_total_steps()) line("optimizer steps", FormatCount(report.total_steps()));
  PrintFindings(report, out);
  if (report.findings().empty()) out << "no findings\n";
}

}  // namespace trainerd::client
