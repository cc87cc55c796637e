// SPDX-License-Identifier: Apache-2.0
#include "client/commands/evaluation/evaluation_text.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {

std::string ResultText(const v1::Evaluation& evaluation) {
  if (!evaluation.error().empty()) return PlainText(evaluation.error());
  std::vector<std::string> parts;
  for (const v1::Measurement& metric : evaluation.metrics()) {
    std::string text = absl::StrCat(metric.name(), " ", FormatNumber(metric.value()));
    if (metric.has_standard_error())
      absl::StrAppend(&text, " ± ", FormatNumber(metric.standard_error()));
    parts.push_back(PlainText(text));
  }
  return parts.empty() ? "-" : absl::StrJoin(parts, ", ");
}

void PrintEvaluation(const v1::Evaluation& evaluation, const Context& context) {
  if (!IsForPeople(context.form)) return PrintMessage(evaluation, context.form, context.out());
  context.out() << PlainText(evaluation.name()) << " "
                << v1::Evaluation::State_Name(evaluation.state()) << "\n";
  context.out().flush();
}

}  // namespace trainerd::client
