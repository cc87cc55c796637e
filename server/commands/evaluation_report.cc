// SPDX-License-Identifier: Apache-2.0
#include "server/commands/evaluation_report.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/message_differencer.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"
#include "server/commands/request.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

constexpr int kMaxMetrics = 256;
constexpr size_t kMaxMetricNameBytes = 100;
constexpr int kMaxArtifacts = 32;

bool IsMetricName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxMetricNameBytes &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '/' || c == '-';
         });
}

absl::Status CheckMetric(const std::string& field, const v1::Measurement& metric) {
  if (!IsMetricName(metric.name())) {
    return BadField(field + ".name",
                    absl::StrCat(Quoted(metric.name()), " is not 1 to ", kMaxMetricNameBytes,
                                 " of the characters A-Z a-z 0-9 . _ / -"));
  }
  if (!std::isfinite(metric.value())) {
    return BadField(field + ".value", absl::StrCat("the value of ", metric.name(),
                                                   " is not a finite number; leave the metric "
                                                   "out, or report an error"));
  }
  if (metric.sample_count() < 0)
    return BadField(field + ".sample_count", absl::StrCat(metric.sample_count(), " is below 0"));
  if (metric.has_standard_error() &&
      !(std::isfinite(metric.standard_error()) && metric.standard_error() >= 0)) {
    return BadField(field + ".standard_error", absl::StrCat(metric.standard_error(),
                                                            " is not a finite number from 0; leave "
                                                            "it out if it is not known"));
  }
  return absl::OkStatus();
}

// Errors may have several lines.
bool IsPrintable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return !HasControlCharacter(text);
}

}  // namespace

absl::Status CheckReport(const v1::ReportEvaluationRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  const int count = request.metrics_size();
  if ((count > 0) == !request.error().empty())
    return BadField("metrics", "give either metrics or error, and one of the two");
  if (count > kMaxMetrics)
    return BadField("metrics", absl::StrCat("has ", count, " entries; the limit is ", kMaxMetrics));
  std::set<std::string> names;
  for (int i = 0; i < count; ++i) {
    const std::string field = absl::StrCat("metrics[", i, "]");
    RETURN_IF_ERROR(CheckMetric(field, request.metrics(i)));
    if (names.insert(request.metrics(i).name()).second) continue;
    return BadField(field + ".name",
                    absl::StrCat(request.metrics(i).name(), " is reported more than once"));
  }
  if (request.artifacts_size() > kMaxArtifacts) {
    return BadField("artifacts", absl::StrCat("has ", request.artifacts_size(),
                                              " entries; the limit is ", kMaxArtifacts));
  }
  for (int i = 0; i < request.artifacts_size(); ++i) {
    if (!HasControlCharacter(request.artifacts(i))) continue;
    return BadField(absl::StrCat("artifacts[", i, "]"),
                    absl::StrCat(Quoted(request.artifacts(i)), " holds a control character"));
  }
  if (IsPrintable(request.error())) return absl::OkStatus();
  return BadField("error", "holds a control character other than a line break or a tab");
}

bool HasResult(const v1::Evaluation& evaluation, const v1::ReportEvaluationRequest& request) {
  const bool failed = !request.error().empty();
  if (evaluation.state() != (failed ? v1::Evaluation::FAILED : v1::Evaluation::COMPLETED))
    return false;
  v1::ReportEvaluationRequest stored = request;
  *stored.mutable_metrics() = evaluation.metrics();
  *stored.mutable_artifacts() = evaluation.artifacts();
  stored.set_error(evaluation.error());
  return google::protobuf::util::MessageDifferencer::Equals(stored, request);
}

}  // namespace trainerd::server
