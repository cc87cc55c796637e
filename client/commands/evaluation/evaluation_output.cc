// SPDX-License-Identifier: Apache-2.0
#include "client/commands/evaluation/evaluation_output.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"

namespace trainerd::client {
namespace {

using Json = nlohmann::ordered_json;

Json Parse(absl::string_view text) {
  return Json::parse(text.begin(), text.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
}

absl::StatusOr<Json> FindObject(const std::string& output) {
  const absl::string_view text = absl::StripAsciiWhitespace(output);
  if (text.empty())
    return absl::InvalidArgumentError(
        "the command printed nothing on stdout; print {\"METRIC\": "
        "VALUE, …}");
  Json whole = Parse(text);
  if (whole.is_object()) return whole;
  const size_t line = text.rfind('\n');
  const absl::string_view last = line == text.npos ? text : text.substr(line + 1);
  Json object = Parse(last);
  if (object.is_object()) return object;
  constexpr size_t kShownBytes = 200;
  return absl::InvalidArgumentError(
      absl::StrCat("the last line of the command's stdout is not a JSON object: ",
                   Quoted(std::string(last.substr(0, kShownBytes)))));
}

absl::Status ReadDetails(const std::string& name, const Json& details, v1::Measurement* metric) {
  for (const auto& [key, value] : details.items()) {
    const bool is_number = value.is_number();
    if (key == "value" && is_number) {
      metric->set_value(value.get<double>());
    } else if (key == "sample_count" && value.is_number_integer()) {
      metric->set_sample_count(value.get<int64_t>());
    } else if (key == "standard_error" && (is_number || value.is_null())) {
      if (is_number) metric->set_standard_error(value.get<double>());
    } else if (key == "lower_is_better" && value.is_boolean()) {
      metric->set_lower_is_better(value.get<bool>());
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "metric ", Quoted(name), ": ", Quoted(key),
          " is not value, sample_count, standard_error (numbers) or lower_is_better (true or "
          "false)"));
    }
  }
  if (details.contains("value")) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("metric ", Quoted(name), " has no value"));
}

absl::Status ReadMetric(const std::string& name, const Json& value, v1::Measurement* metric) {
  metric->set_name(name);
  if (value.is_object()) return ReadDetails(name, value, metric);
  if (!value.is_number()) {
    return absl::InvalidArgumentError(
        absl::StrCat("metric ", Quoted(name), " is not a number: ", value.dump()));
  }
  metric->set_value(value.get<double>());
  return absl::OkStatus();
}

absl::Status ReadArtifacts(const Json& list, v1::ReportEvaluationRequest* report) {
  if (!list.is_array()) return absl::InvalidArgumentError("artifacts is not a list of texts");
  for (const Json& artifact : list) {
    if (!artifact.is_string())
      return absl::InvalidArgumentError("artifacts is not a list of texts");
    report->add_artifacts(artifact.get<std::string>());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::ReportEvaluationRequest> ParseEvaluationOutput(const std::string& output) {
  ASSIGN_OR_RETURN(const Json object, FindObject(output));
  const bool has_parts = object.contains("metrics") && object["metrics"].is_object();
  v1::ReportEvaluationRequest report;
  const Json& metrics = has_parts ? object["metrics"] : object;
  for (const auto& [name, value] : metrics.items())
    RETURN_IF_ERROR(ReadMetric(name, value, report.add_metrics()));
  if (has_parts && object.contains("artifacts"))
    RETURN_IF_ERROR(ReadArtifacts(object["artifacts"], &report));
  if (report.metrics().empty())
    return absl::InvalidArgumentError("the JSON object on the command's stdout has no metric");
  return report;
}

}  // namespace trainerd::client
