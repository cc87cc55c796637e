// SPDX-License-Identifier: Apache-2.0
// trainctl ls: the jobs, newest first.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_pages.h"
#include "client/commands/common/job_text.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

// "2h" = so long ago; else a date or a time.
absl::StatusOr<absl::Time> ParseSince(const std::string& text) {
  const absl::StatusOr<absl::Duration> span = ParseSpan(text);
  if (span.ok()) return absl::Now() - *span;
  absl::Time time;
  for (const char* format : {absl::RFC3339_full, "%Y-%m-%d", "%Y-%m-%d %H:%M:%S"}) {
    if (absl::ParseTime(format, text, absl::LocalTimeZone(), &time, nullptr)) return time;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--since ", text,
                   " is not a time; write a span (30m, 2h), a date (2026-12-01) or a time "
                   "(2026-12-01T22:00:00Z)"));
}

absl::StatusOr<v1::ListJobsRequest> Filter(const LsOptions& options) {
  v1::ListJobsRequest request;
  request.set_label_selector(
      JoinSelectors(options.selector, options.group.empty() ? "" : GroupSelector(options.group)));
  request.set_display_name(options.name);
  request.set_order_by(options.order);
  if (!options.since.empty()) {
    ASSIGN_OR_RETURN(const absl::Time since, ParseSince(options.since));
    *request.mutable_created_after() = ToProto(since);
  }
  for (const std::string& text : options.states) {
    const absl::StatusOr<v1::Job::State> state = ParseState(text);
    if (!state.ok()) return state.status();
    request.add_states(*state);
  }
  for (const std::string& label : options.labels) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("--label ", label, " is not KEY=VALUE"));
    }
    (*request.mutable_labels())[label.substr(0, equals)] = label.substr(equals + 1);
  }
  return request;
}

std::string Steps(const v1::Progress& progress) {
  if (!progress.has_total_steps()) return absl::StrCat(progress.step());
  return absl::StrCat(progress.step(), "/", progress.total_steps());
}

// Why the job failed or waits.
std::string ReasonText(const v1::Job& job, absl::Time now) {
  constexpr int kReasonColumns = 120;
  const bool failed = !job.error().code().empty() && job.state() != v1::Job::SUCCEEDED;
  const std::string text =
      failed ? absl::StrCat(job.error().code(), ": ", job.error().message()) : WaitsFor(job, now);
  return text.empty() ? "-" : FitWidth(PlainText(text), kReasonColumns);
}

// The columns that only -o wide has.
void AddWideCells(const v1::Job& job, absl::Time now, std::vector<std::string>* row) {
  const v1::Progress& progress = job.progress();
  row->push_back(progress.has_learning_rate() ? FormatLearningRate(progress.learning_rate()) : "-");
  row->push_back(progress.has_tokens_per_second()
                     ? FormatCount(static_cast<int64_t>(progress.tokens_per_second()))
                     : "-");
  row->push_back(HasEta(job) ? FormatSpan(absl::Seconds(progress.eta_seconds())) : "-");
  row->push_back(FormatRunTime(job, now));
  row->push_back(job.devices().empty() ? "-" : PlainText(absl::StrJoin(job.devices(), ", ")));
  row->push_back(absl::StrCat(job.attempt()));
  row->push_back(absl::StrCat(job.config().priority()));
  row->push_back(
      job.latest_checkpoint().empty() ? "-" : PlainText(CheckpointId(job.latest_checkpoint())));
  row->push_back(FormatTimestamp(job.create_time()));
  row->push_back(FormatTimestamp(job.end_time()));
  row->push_back(AlertTypes(job));
  row->push_back(ReasonText(job, now));
}

void PrintTable(const v1::ListJobsResponse& response, const Context& context) {
  const bool wide = context.form == OutputForm::kWide;
  std::vector<std::string> header = {"ID", "NAME", "STATE", "STEP", "LOSS", "VAL-LOSS", "AGE"};
  if (wide) {
    header.insert(header.end(), {"LR", "TOK/S", "ETA", "DURATION", "DEVICE", "ATTEMPT", "PRIORITY",
                                 "CHECKPOINT", "CREATED", "ENDED", "ALERTS", "REASON"});
  }
  Table table(std::move(header));
  const absl::Time now = absl::Now();
  for (const v1::Job& job : response.jobs()) {
    const v1::Progress& progress = job.progress();
    std::vector<std::string> row = {
        PlainText(JobId(job.name())),
        PlainText(job.config().name()),
        ColorByState(job.state(), DescribeState(job), context.env.color),
        Steps(progress),
        progress.has_loss() ? FormatNumber(progress.loss()) : "-",
        progress.has_validation_loss() ? FormatNumber(progress.validation_loss()) : "-",
        FormatSpan(now - FromProto(job.create_time()))};
    if (wide) AddWideCells(job, now, &row);
    table.AddRow(std::move(row));
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out().flush();
}

}  // namespace

int RunLs(const LsOptions& options, const Context& context) {
  absl::StatusOr<v1::ListJobsRequest> request = Filter(options);
  if (!request.ok()) return PrintError(request.status(), context);
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<v1::ListJobsResponse> all =
      ListAllJobs(**connection, *request, options.limit);
  if (!all.ok()) return PrintError(all.status(), context);
  if (IsForPeople(context.form)) {
    if ((*connection)->server_info().draining()) {
      context.err() << "trainctl: the daemon drains: no job starts until `trainctl undrain` or a "
                       "restart of the daemon"
                    << std::endl;
    }
    if (all->jobs().empty() && context.talks()) {
      const bool filtered = !options.states.empty() || !options.labels.empty() ||
                            !request->label_selector().empty() || !options.name.empty() ||
                            !options.since.empty();
      context.out() << "no jobs"
                    << (filtered ? " match" : "; submit one with `trainctl submit JOB.yaml`")
                    << std::endl;
      return kDone;
    }
    PrintTable(*all, context);
  } else {
    PrintList(*all, all->jobs(), context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
