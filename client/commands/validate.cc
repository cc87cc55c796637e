// SPDX-License-Identifier: Apache-2.0
// trainctl validate: checks the configuration locally. The daemon checks the data; trainerd-inspect
// does if no daemon answers, and for --full.
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/preview/inspect.h"
#include "client/view/report_text.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/json_output.h"
#include "proto/contract/job/state_dir.h"

namespace trainerd::client {
namespace {

constexpr char kNotChecked[] = "Not checked: output.path, resources.device, init_from";

int PrintResult(const v1::DataReport& report, const JobFile& job, const Context& context) {
  if (IsForPeople(context.form)) {
    PrintReport(report, context.out(), &job);
  } else {
    PrintMessage(report, context.form, context.out());
  }
  context.out().flush();
  return HasErrors(report) ? kUsage : kDone;
}

// One run of `trainerd-inspect validate`.
struct Inspected {
  // Absent if trainerd-inspect printed none. With errors in it, the exit code is 2.
  std::optional<v1::DataReport> report;
  ProcessResult process;
};

absl::StatusOr<Inspected> Inspect(const Environment& env, const InspectJob& job,
                                  const std::vector<std::string>& options) {
  std::vector<std::string> arguments = {"validate", "--job", job.path};
  arguments.insert(arguments.end(), options.begin(), options.end());
  Inspected result;
  ASSIGN_OR_RETURN(result.process, RunInspect(env, std::move(arguments), job.input));
  v1::DataReport report;
  if (!result.process.out.empty() && JsonToMessage(result.process.out, &report).ok())
    result.report = std::move(report);
  return result;
}

int PrintInspected(const Inspected& inspected, const JobFile& job, const Context& context) {
  if (!inspected.report) return PrintError(FailedInspect(inspected.process), context);
  // Warnings of trainerd-inspect.
  context.err() << PlainTextLines(inspected.process.err);
  return PrintResult(*inspected.report, job, context);
}

int ValidateHere(const JobFile& job, const ValidateOptions& options, const Context& context) {
  const InspectJob file = JobForInspect(job, !options.sets.empty());
  std::vector<std::string> arguments = {"--runs-dir",
                                        absl::StrCat(context.env.state_dir, "/", kRunsName)};
  if (!options.full) arguments.emplace_back("--quick");
  const absl::StatusOr<Inspected> inspected = Inspect(context.env, file, arguments);
  if (!inspected.ok()) return PrintError(inspected.status(), context);
  return PrintInspected(*inspected, job, context);
}

}  // namespace

int RunValidate(const ValidateOptions& options, const Context& context) {
  const std::optional<JobFile> job = ReadJob({.file = options.file, .sets = options.sets}, context);
  if (!job) return kUsage;
  if (options.full) {
    context.err() << "trainctl: reading all data locally, without the daemon. " << kNotChecked
                  << std::endl;
    return ValidateHere(*job, options, context);
  }
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) {
    if (connection.status().code() != absl::StatusCode::kUnavailable)
      return PrintError(connection.status(), context);
    context.err() << "trainctl: no daemon answers; reading the data locally. " << kNotChecked
                  << std::endl;
    return ValidateHere(*job, options, context);
  }
  v1::SubmitJobRequest request;
  *request.mutable_config() = job->config;
  request.set_validate_only(true);
  const absl::StatusOr<v1::SubmitJobResponse> response = (*connection)->SubmitJob(request);
  if (!response.ok()) return PrintError(response.status(), context, &*job);
  return PrintResult(response->report(), *job, context);
}

}  // namespace trainerd::client
