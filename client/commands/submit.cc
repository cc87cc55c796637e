// SPDX-License-Identifier: Apache-2.0
// trainctl submit: job file → daemon. The daemon first checks the data (validate_only), so that
// errors appear before the job waits in the queue.
#include <optional>

#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_text.h"
#include "client/commands/common/job_uploads.h"
#include "client/commands/submit_sweep.h"
#include "client/net/job_names.h"
#include "client/view/report_text.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {
namespace {

int PrintCheck(const v1::SubmitJobResponse& response, const JobFile& job,
               const SubmitOptions& options, const Context& context) {
  const bool errors = HasErrors(response.report());
  if (options.validate_only) {
    if (IsForPeople(context.form)) {
      PrintReport(response.report(), context.out(), &job);
    } else {
      PrintMessage(response, context.form, context.out());
    }
  } else {
    if (errors) return PrintRefusedData(response.report(), job, context);
    PrintFindings(response.report(), context.err(), &job);
    PrintDiskUse(response.report(), context.err());
  }
  return errors ? kUsage : kDone;
}

int Follow(Connection& connection, const v1::Job& job, const SubmitOptions& options,
           const Context& context) {
  // The documents of --watch and --wait are the events, or the job at its end, so the name goes to
  // stderr.
  if (IsForPeople(context.form)) {
    context.out() << PlainText(job.name()) << std::endl;
  } else {
    context.err() << PlainText(job.name()) << std::endl;
  }
  // From the cursor of the submission, so that no event before the stream opens is missed.
  return options.watch ? WatchJob(connection, job.name(), job.cursor(), context)
                       : WaitForEnd(connection, job.name(), context);
}

}  // namespace

int RunSubmit(const SubmitOptions& options, const Context& context) {
  if (options.file.empty() && options.from.empty()) {
    return PrintUsageError(
        "submit needs a job file (trainctl submit JOB.yaml), or --from JOB to continue one",
        context);
  }
  if (!options.sweeps.empty()) return RunSubmitSweep(options, context);
  if (options.dry_run || !options.group.empty())
    return PrintUsageError("--dry-run and --group are for a sweep (--sweep KEY=VALUE,VALUE)",
                           context);
  const std::optional<JobFile> job = ReadJob(
      {.file = options.file, .sets = options.sets, .complete = options.from.empty()}, context);
  if (!job) return kUsage;
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  v1::SubmitJobRequest request;
  *request.mutable_config() = job->config;
  if (options.suspended) request.mutable_config()->set_suspended(true);
  if (!options.from.empty()) {
    const absl::StatusOr<std::string> from = ResolveJobOrCheckpoint(**connection, options.from);
    if (!from.ok()) return PrintError(from.status(), context);
    request.set_base(*from);
  }
  if (options.upload) {
    const absl::Status sent = SendFilesOf(**connection, context, request.mutable_config());
    if (!sent.ok()) return PrintError(sent, context, &*job);
  }
  if (!options.no_validate) {
    request.set_validate_only(true);
    const absl::StatusOr<v1::SubmitJobResponse> checked = (*connection)->SubmitJob(request);
    if (!checked.ok()) return PrintError(checked.status(), context, &*job);
    const int code = PrintCheck(*checked, *job, options, context);
    if (code != kDone || options.validate_only) return code;
    request.set_validate_only(false);
  }
  request.set_request_id(options.request_id.empty() ? NewRequestId() : options.request_id);
  const absl::StatusOr<v1::SubmitJobResponse> submitted = (*connection)->SubmitJob(request);
  if (!submitted.ok()) {
    const int code = PrintError(submitted.status(), context, &*job);
    if (code == kUnreachable) {
      context.err() << "trainctl: the daemon may have accepted the job; repeat the command with "
                       "--request-id "
                    << request.request_id() << ", which does not submit it twice\n";
    }
    return code;
  }
  if (options.watch || options.wait)
    return Follow(**connection, submitted->job(), options, context);
  if (IsForPeople(context.form)) {
    context.out() << PlainText(submitted->job().name()) << std::endl;
  } else {
    PrintMessage(submitted->job(), context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
