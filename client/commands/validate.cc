// SPDX-License-Identifier: Apache-2.0
// trainctl validate: the configuration here, the data by the daemon, or by trainerd-inspect where
// no daemon is.
#include "client/commands/commands.h"
#include "client/inspect.h"
#include "client/job_file.h"
#include "client/report_text.h"
#include "client/status_details.h"
#include "client/text_width.h"
#include "proto/contract/json_output.h"

namespace trainerd::client {
namespace {

int PrintResult(const v1::DataReport& report, const Context& context) {
  if (IsForPeople(context.form)) {
    PrintReport(report, context.out());
  } else {
    PrintMessage(report, context.form, context.out());
  }
  context.out().flush();
  return HasErrors(report) ? kUsage : kDone;
}

int ValidateHere(const JobFile& job, bool changed, const Context& context) {
  const absl::StatusOr<InspectJob> file = InspectJob::Create(job, changed);
  if (!file.ok()) return PrintError(file.status(), context.err());
  const absl::StatusOr<ProcessResult> result =
      RunInspect(context.env, {"validate", "--job", file->path(), "--quick"});
  if (!result.ok()) return PrintError(result.status(), context.err());
  v1::DataReport report;
  // With findings that are errors it prints the report too and leaves with 2.
  if (!result->output.empty() && JsonToMessage(result->output, &report).ok())
    return PrintResult(report, context);
  context.err() << PlainTextLines(result->errors);
  if (result->errors.empty())
    context.err() << "trainctl: trainerd-inspect gave no report and left with code "
                  << result->exit_code << "\n";
  context.err().flush();
  return result->exit_code == kUsage ? kUsage : kRefused;
}

}  // namespace

int RunValidate(const ValidateOptions& options, const Context& context) {
  const absl::StatusOr<JobFile> job =
      LoadJobFile({.path = options.file, .sets = options.sets}, context.env);
  if (!job.ok()) return PrintError(job.status(), context.err());
  if (!job->violations.empty()) {
    PrintViolations(job->violations, job->path, context.err());
    return kUsage;
  }
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) {
    if (connection.status().code() != absl::StatusCode::kUnavailable)
      return PrintError(connection.status(), context.err());
    context.err() << "trainctl: no daemon answers: the files are read here" << std::endl;
    return ValidateHere(*job, !options.sets.empty(), context);
  }
  v1::SubmitJobRequest request;
  *request.mutable_config() = job->config;
  request.set_validate_only(true);
  const absl::StatusOr<v1::SubmitJobResponse> response = (*connection)->SubmitJob(request);
  if (!response.ok()) return PrintError(response.status(), context.err(), job->path, job->lines);
  return PrintResult(response->report(), context);
}

}  // namespace trainerd::client
