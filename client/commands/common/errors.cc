// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/errors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "client/net/status_details.h"
#include "client/view/report_text.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job_file/output_json.h"

namespace trainerd::client {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kNotSubmitted[] =
    "not submitted, because the checks found errors; correct them, or submit without this check "
    "with --no-validate";

bool IsJson(const Context& context) {
  return context.form == OutputForm::kJson || context.form == OutputForm::kJsonl;
}

Json Document(const absl::Status& status) {
  Json error = {{"code", absl::StatusCodeToString(status.code())}};
  if (const std::string reason = Reason(status); !reason.empty()) error["reason"] = reason;
  error["message"] = std::string(status.message());
  error["exit_code"] = static_cast<int>(ExitCodeOf(status));
  if (const auto delay = RetryDelay(status))
    error["retry_after_seconds"] = absl::ToDoubleSeconds(*delay);
  return error;
}

Json ViolationList(const std::vector<ConfigViolation>& violations, const std::string& file) {
  Json list = Json::array();
  for (const ConfigViolation& violation : violations) {
    Json element = Json::object();
    if (!violation.set.empty()) {
      element["set"] = violation.set;
    } else if (!file.empty()) {
      element["file"] = file;
    }
    if (violation.line > 0) element["line"] = violation.line;
    element["path"] = violation.path;
    element["message"] = violation.message;
    list.push_back(std::move(element));
  }
  return list;
}

void PrintDocument(Json error, const Context& context) {
  context.err() << JsonText({{"error", std::move(error)}}, /*pretty=*/false) << std::endl;
}

std::vector<ConfigViolation> Sorted(std::vector<ConfigViolation> violations) {
  std::stable_sort(
      violations.begin(), violations.end(),
      [](const ConfigViolation& a, const ConfigViolation& b) { return a.line < b.line; });
  return violations;
}

void PrintList(const std::vector<ConfigViolation>& violations, const std::string& file,
               const Context& context) {
  for (const ConfigViolation& violation : violations)
    context.err() << PlainText(ViolationsText({violation}, file)) << "\n";
}

}  // namespace

ExitCode PrintError(const absl::Status& status, const Context& context, const JobFile* job) {
  std::vector<ConfigViolation> violations = FieldViolations(status);
  const std::string file = job == nullptr ? "" : job->path;
  if (job != nullptr) AttachOrigins(*job, &violations);
  violations = Sorted(std::move(violations));
  if (IsJson(context)) {
    Json error = Document(status);
    if (!violations.empty()) error["violations"] = ViolationList(violations, file);
    PrintDocument(std::move(error), context);
    return ExitCodeOf(status);
  }
  PrintList(violations, file, context);
  if (violations.empty())
    context.err() << "trainctl: " << PlainTextLines(std::string(status.message())) << "\n";
  if (const auto delay = RetryDelay(status))
    context.err() << "trainctl: try again in " << absl::FormatDuration(*delay) << "\n";
  context.err().flush();
  return ExitCodeOf(status);
}

ExitCode PrintUsageError(const std::string& message, const Context& context) {
  return PrintError(absl::InvalidArgumentError(message), context);
}

ExitCode PrintViolations(const JobFile& job, const Context& context) {
  const std::vector<ConfigViolation> violations = Sorted(job.violations);
  if (!IsJson(context)) {
    PrintList(violations, job.path, context);
    context.err().flush();
    return kUsage;
  }
  Json error = Document(absl::InvalidArgumentError(ViolationsText(violations, job.path)));
  error["violations"] = ViolationList(violations, job.path);
  PrintDocument(std::move(error), context);
  return kUsage;
}

ExitCode PrintRefusedData(const v1::DataReport& report, const JobFile& job,
                          const Context& context) {
  if (!IsJson(context)) {
    PrintFindings(report, context.err(), &job);
    return PrintUsageError(kNotSubmitted, context);
  }
  Json error = Document(absl::InvalidArgumentError(kNotSubmitted));
  error["findings"] = OutputJson(report)["findings"];
  PrintDocument(std::move(error), context);
  return kUsage;
}

}  // namespace trainerd::client
