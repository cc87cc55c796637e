// SPDX-License-Identifier: Apache-2.0
// trainctl checkpoints ls: the checkpoints of a job, or of all jobs, newest first.
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/checkpoints/text.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/net/job_names.h"
#include "client/net/pages.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr int kPageSize = 500;

// Resume point and best metric by job. A job that was deleted in between has neither.
using Jobs = std::map<std::string, v1::Job>;

absl::StatusOr<Jobs> ReadJobs(const v1::ListCheckpointsResponse& all, Connection& connection) {
  Jobs jobs;
  for (const v1::Checkpoint& checkpoint : all.checkpoints()) {
    const std::string name = JobName(JobId(checkpoint.name()));
    if (jobs.contains(name)) continue;
    absl::StatusOr<v1::Job> job = connection.GetJob(name);
    if (!job.ok() && job.status().code() != absl::StatusCode::kNotFound) return job.status();
    jobs[name] = job.ok() ? *std::move(job) : v1::Job();
  }
  return jobs;
}

// The metric by which the job's checkpoints compare.
std::string MetricOf(const v1::Job& job) {
  const v1::EvaluationConfig& evaluation = job.config().evaluation();
  return evaluation.has_best() ? evaluation.best().metric() : "eval.validation.loss";
}

// "eval.validation.loss 0.6931"; several jobs can have different metrics.
std::string NamedMetric(const v1::Checkpoint& checkpoint, const std::string& metric) {
  const std::string value = MetricText(checkpoint, metric);
  return value == "-" ? value : absl::StrCat(metric, " ", value);
}

std::string AllMetrics(const v1::Checkpoint& checkpoint) {
  std::string text;
  for (const v1::Measurement& measurement : checkpoint.metrics()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", measurement.name(), " ",
                    FormatNumber(measurement.value()));
  }
  return text.empty() ? "-" : PlainText(text);
}

void PrintTable(const v1::ListCheckpointsResponse& all, Jobs jobs, bool of_all_jobs,
                const Context& context) {
  const bool wide = context.form == OutputForm::kWide;
  std::vector<std::string> header = {"ID",  "STEP",   "ATTEMPT", "SIZE",
                                     "AGE", "METRIC", "LABELS",  "NOTES"};
  if (wide) header.insert(header.end(), {"PARENT", "CREATED", "METRICS", "FOLDER"});
  Table table(std::move(header));
  const absl::Time now = absl::Now();
  for (const v1::Checkpoint& checkpoint : all.checkpoints()) {
    const v1::Job& job = jobs[JobName(JobId(checkpoint.name()))];
    const std::string labels = LabelsText(checkpoint);
    std::vector<std::string> row = {
        PlainText(of_all_jobs ? checkpoint.name() : CheckpointId(checkpoint.name())),
        absl::StrCat(checkpoint.step()),
        absl::StrCat(checkpoint.attempt()),
        FormatBytes(checkpoint.size_bytes()),
        FormatAge(checkpoint.create_time(), now),
        PlainText(NamedMetric(checkpoint, MetricOf(job))),
        labels.empty() ? "-" : labels,
        CheckpointNotes(checkpoint, job.latest_checkpoint(), now)};
    if (wide) {
      row.push_back(checkpoint.parent().empty() ? "-"
                                                : PlainText(CheckpointId(checkpoint.parent())));
      row.push_back(FormatTimestamp(checkpoint.create_time()));
      row.push_back(AllMetrics(checkpoint));
      row.push_back(PlainText(checkpoint.path()));
    }
    table.AddRow(std::move(row));
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out().flush();
}

absl::StatusOr<v1::ListCheckpointsResponse> ListAll(v1::ListCheckpointsRequest request,
                                                    Connection& connection) {
  request.set_page_size(kPageSize);
  return ReadAllPages<v1::ListCheckpointsResponse>(connection, request);
}

}  // namespace

int RunCheckpointsLs(const CheckpointsLsOptions& options, const Context& context) {
  const bool of_all_jobs = options.job.empty();
  const absl::StatusOr<FoundJob> found = FindJobOrAll(options.job, context);
  if (!found.ok()) return PrintError(found.status(), context);
  v1::ListCheckpointsRequest request;
  request.set_parent(found->name);
  request.set_show_deleted(options.all);
  const absl::StatusOr<v1::ListCheckpointsResponse> all = ListAll(request, *found->connection);
  if (!all.ok()) return PrintError(all.status(), context);
  if (!IsForPeople(context.form)) {
    PrintList(*all, all->checkpoints(), context.form, context.out());
    return kDone;
  }
  absl::StatusOr<Jobs> jobs = ReadJobs(*all, *found->connection);
  if (!jobs.ok()) return PrintError(jobs.status(), context);
  PrintTable(*all, *std::move(jobs), of_all_jobs, context);
  return kDone;
}

}  // namespace trainerd::client
