// SPDX-License-Identifier: Apache-2.0
#include "client/commands/submit_sweep.h"

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_uploads.h"
#include "client/commands/common/sweep.h"
#include "client/net/job_names.h"
#include "client/view/report_text.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr char kGroupLabel[] = "group";
// Of the request id, in the name of a group.
constexpr size_t kIdBytes = 8;

struct PlannedJob {
  SweepPoint point;
  JobFile file;
  v1::SubmitJobRequest request;
  // As the daemon resolves it; without its check, as the user set it.
  v1::JobConfig config;
};

struct Sweep {
  std::vector<PlannedJob> jobs;
  std::string group;
  std::string request_id;
};

// nullopt: printed.
std::optional<std::vector<PlannedJob>> ReadJobs(const SubmitOptions& options,
                                                const Context& context) {
  const absl::StatusOr<std::vector<SweepPoint>> points = ExpandSweep(options.sweeps);
  if (!points.ok()) {
    PrintUsageError(std::string(points.status().message()), context);
    return std::nullopt;
  }
  std::vector<PlannedJob> jobs;
  for (const SweepPoint& point : *points) {
    std::vector<std::string> sets = options.sets;
    sets.insert(sets.end(), point.sets.begin(), point.sets.end());
    std::optional<JobFile> file = ReadJob(
        {.file = options.file, .sets = std::move(sets), .complete = options.from.empty()}, context);
    if (!file.has_value()) return std::nullopt;
    PlannedJob job{.point = point, .file = *std::move(file)};
    *job.request.mutable_config() = job.config = job.file.config;
    if (options.suspended) job.request.mutable_config()->set_suspended(true);
    jobs.push_back(std::move(job));
  }
  return jobs;
}

// Two jobs that can still run may not write to one folder.
std::string SharedOutput(const std::vector<PlannedJob>& jobs) {
  std::set<std::string> paths;
  for (const PlannedJob& job : jobs) {
    const v1::OutputConfig& output = job.request.config().output();
    if (output.has_path() && !paths.insert(output.path()).second) return output.path();
  }
  return "";
}

// Base, names, group, uploads and request ids.
absl::Status Complete(Connection& connection, const SubmitOptions& options, const Context& context,
                      Sweep* sweep) {
  sweep->request_id = options.request_id.empty() ? NewRequestId() : options.request_id;
  std::string base, base_name;
  if (!options.from.empty()) {
    ASSIGN_OR_RETURN(base, ResolveJobOrCheckpoint(connection, options.from));
    ASSIGN_OR_RETURN(const v1::Job job, connection.GetJob(JobName(JobId(base))));
    base_name = job.config().name();
  }
  for (size_t i = 0; i < sweep->jobs.size(); ++i) {
    PlannedJob& job = sweep->jobs[i];
    v1::JobConfig& config = *job.request.mutable_config();
    if (!config.name().empty()) base_name = config.name();
    if (base_name.empty()) base_name = "job";
    if (i == 0) {
      sweep->group = options.group;
      const auto given = config.labels().find(kGroupLabel);
      if (sweep->group.empty() && given != config.labels().end()) sweep->group = given->second;
      if (sweep->group.empty())
        sweep->group = absl::StrCat(base_name, "-", sweep->request_id.substr(0, kIdBytes));
    }
    config.set_name(SweepName(base_name, job.point, i + 1));
    (*config.mutable_labels())[kGroupLabel] = sweep->group;
    job.request.set_base(base);
    if (options.upload) RETURN_IF_ERROR(SendFilesOf(connection, context, &config));
    job.request.set_request_id(absl::StrCat(sweep->request_id, ".", i + 1));
    job.config = config;
  }
  return absl::OkStatus();
}

// With the daemon: files, device and data. The exit code of a refusal, which is printed.
std::optional<int> CheckJobs(Connection& connection, Sweep* sweep, const Context& context) {
  std::set<std::string> printed;
  for (PlannedJob& job : sweep->jobs) {
    v1::SubmitJobRequest request = job.request;
    request.set_validate_only(true);
    request.clear_request_id();
    const absl::StatusOr<v1::SubmitJobResponse> checked = connection.SubmitJob(request);
    if (!checked.ok()) {
      if (IsForPeople(context.form)) {
        context.err() << "trainctl: the job with " << PlainText(absl::StrJoin(job.point.sets, " "))
                      << " is refused; no job was submitted\n";
      }
      return PrintError(checked.status(), context, &job.file);
    }
    if (HasErrors(checked->report())) return PrintRefusedData(checked->report(), job.file, context);
    job.config = checked->job().config();
    // The jobs of a sweep mostly have the same data.
    std::string findings;
    for (const v1::DataReport::Finding& finding : checked->report().findings())
      absl::StrAppend(&findings, finding.SerializeAsString());
    if (printed.insert(findings).second) PrintFindings(checked->report(), context.err(), &job.file);
  }
  return std::nullopt;
}

int PrintPlan(const Sweep& sweep, const Context& context) {
  if (!IsForPeople(context.form)) {
    v1::ListJobsResponse document;
    for (const PlannedJob& job : sweep.jobs) *document.add_jobs()->mutable_config() = job.config;
    PrintMessage(document, context.form, context.out());
    return kDone;
  }
  std::vector<std::string> header = {"NAME"};
  for (const std::string& set : sweep.jobs.front().point.sets)
    header.push_back(PlainText(set.substr(0, set.find('='))));
  Table table(std::move(header));
  for (const PlannedJob& job : sweep.jobs) {
    std::vector<std::string> row = {PlainText(job.config.name())};
    for (const std::string& set : job.point.sets)
      row.push_back(PlainText(set.substr(set.find('=') + 1)));
    table.AddRow(std::move(row));
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out().flush();
  return kDone;
}

int SubmitJobs(Connection& connection, const Sweep& sweep, const Context& context) {
  v1::ListJobsResponse submitted;
  for (const PlannedJob& job : sweep.jobs) {
    const absl::StatusOr<v1::SubmitJobResponse> response = connection.SubmitJob(job.request);
    if (!response.ok()) {
      if (IsForPeople(context.form)) {
        context.err() << "trainctl: " << submitted.jobs_size() << " of "
                      << Counted(static_cast<int64_t>(sweep.jobs.size()), "job")
                      << " were submitted, in group " << PlainText(sweep.group)
                      << "; repeat the command with --request-id " << PlainText(sweep.request_id)
                      << ", which submits the others only\n";
      }
      return PrintError(response.status(), context, &job.file);
    }
    if (IsForPeople(context.form)) {
      context.out() << PlainText(response->job().name()) << std::endl;
    } else if (context.form == OutputForm::kJsonl) {
      PrintMessage(response->job(), context.form, context.out());
    }
    *submitted.add_jobs() = response->job();
  }
  if (IsForPeople(context.form)) {
    context.err() << "trainctl: group " << PlainText(sweep.group) << "; `trainctl compare --group "
                  << ShellWord(PlainText(sweep.group)) << "` compares its jobs\n";
  } else if (context.form != OutputForm::kJsonl) {
    PrintMessage(submitted, context.form, context.out());
  }
  return kDone;
}

}  // namespace

int RunSubmitSweep(const SubmitOptions& options, const Context& context) {
  if (options.watch || options.wait || options.validate_only) {
    return PrintUsageError(
        "--sweep submits several jobs, so it has no --watch, --wait or --validate-only; --dry-run "
        "checks them, and `trainctl wait` and `trainctl watch --selector` follow them",
        context);
  }
  std::optional<std::vector<PlannedJob>> jobs = ReadJobs(options, context);
  if (!jobs.has_value()) return kUsage;
  if (const std::string path = SharedOutput(*jobs); !path.empty()) {
    return PrintUsageError(absl::StrCat("several jobs of the sweep have output.path ", path,
                                        "; leave it out, or sweep it, too"),
                           context);
  }
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  Sweep sweep{.jobs = *std::move(jobs)};
  if (const absl::Status status = Complete(**connection, options, context, &sweep); !status.ok())
    return PrintError(status, context);
  if (!options.no_validate) {
    const std::optional<int> refused = CheckJobs(**connection, &sweep, context);
    if (refused.has_value()) return *refused;
  }
  return options.dry_run ? PrintPlan(sweep, context) : SubmitJobs(**connection, sweep, context);
}

}  // namespace trainerd::client
