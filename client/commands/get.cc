// SPDX-License-Identifier: Apache-2.0
// trainctl get: one job. -o yaml prints its resolved configuration as a job file with the defaults
// marked.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/alerts.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd::client {
namespace {

constexpr int kLabelColumns = 16;
constexpr int kPageSize = 500;

void Line(const Context& context, const char* label, const std::string& text) {
  if (!text.empty() && text != "-")
    context.out() << PadRight(label, kLabelColumns) << PlainText(text) << "\n";
}

void PrintProgress(const v1::Job& job, const Context& context) {
  const v1::Progress& progress = job.progress();
  std::string steps = FormatCount(progress.step());
  if (progress.has_total_steps())
    absl::StrAppend(&steps, " of ", FormatCount(progress.total_steps()));
  if (progress.has_epoch()) absl::StrAppend(&steps, ", epoch ", FormatNumber(progress.epoch()));
  Line(context, "steps", steps);
  if (progress.has_loss()) Line(context, "loss", FormatNumber(progress.loss()));
  if (progress.has_validation_loss())
    Line(context, "validation loss", FormatNumber(progress.validation_loss()));
  if (progress.has_learning_rate())
    Line(context, "learning rate", FormatLearningRate(progress.learning_rate()));
  if (progress.has_tokens_per_second())
    Line(context, "tokens/s", FormatNumber(progress.tokens_per_second()));
  if (HasEta(job)) Line(context, "ETA", FormatSpan(absl::Seconds(progress.eta_seconds())));
  Line(context, "stage", progress.stage());
}

void PrintError(const v1::JobError& error, const Context& context) {
  if (error.code().empty()) return;
  Line(context, "error",
       absl::StrCat(error.code(), " (", v1::JobError::Cause_Name(error.cause()),
                    "): ", error.message()));
  // Without the line in which the worker reports the same error.
  std::string lines;
  for (const absl::string_view line : absl::StrSplit(error.log_excerpt(), '\n')) {
    const bool repeats = !error.message().empty() && absl::StrContains(line, error.message());
    if (!line.empty() && !repeats) absl::StrAppend(&lines, line, "\n");
  }
  if (!lines.empty()) context.out() << "last lines of its output:\n" << PlainTextLines(lines);
}

void PrintJob(const v1::Job& job, const Context& context) {
  Line(context, "job", job.name());
  Line(context, "name", job.config().name());
  context.out() << PadRight("state", kLabelColumns)
                << ColorByState(job.state(), DescribeState(job), context.env.color) << "\n";
  Line(context, "", WaitsFor(job, absl::Now()));
  for (const auto& condition : job.conditions()) {
    if (condition.active())
      Line(context, "condition", absl::StrCat(condition.type(), ": ", condition.message()));
  }
  for (const v1::Alert& alert : job.alerts())
    Line(context, alert.active() ? "alert" : "past alert", AlertText(alert));
  PrintProgress(job, context);
  Line(context, "device", absl::StrJoin(job.devices(), ", "));
  if (job.attempt() > 0) Line(context, "attempt", absl::StrCat(job.attempt()));
  Line(context, "checkpoint", job.latest_checkpoint());
  if (job.has_best_value()) {
    Line(context, "best",
         absl::StrCat(job.best_checkpoint(), " (", job.config().evaluation().best().metric(), " ",
                      FormatNumber(job.best_value()), ")"));
  }
  if (job.checkpoint_pending()) Line(context, "", "a further checkpoint was requested");
  Line(context, "from", job.base());
  Line(context, "created", FormatTimestamp(job.create_time()));
  Line(context, "started", FormatTimestamp(job.start_time()));
  Line(context, "ended", FormatTimestamp(job.end_time()));
  Line(context, "duration", FormatRunTime(job, absl::Now()));
  std::vector<std::string> labels;
  for (const auto& [key, value] : job.config().labels())
    labels.push_back(absl::StrCat(key, "=", value));
  Line(context, "labels", absl::StrJoin(labels, ", "));
  Line(context, "owner", job.owner());
  Line(context, "model", job.config().model().path());
  if (job.state() == v1::Job::SUCCEEDED) {
    Line(context, "final model", FinalPath(job));
  } else {
    Line(context, "output", job.config().output().path());
  }
  Line(context, "folder", job.run_dir());
  PrintError(job.error(), context);
}

absl::Status PrintAttempts(Connection& connection, const std::string& name,
                           const Context& context) {
  Table table({"ATTEMPT", "DEVICE", "END", "STEPS", "FROM", "STARTED", "ENDED", "ERROR"});
  v1::ListAttemptsRequest request;
  request.set_parent(name);
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(const v1::ListAttemptsResponse page,
                     connection.Call<v1::ListAttemptsResponse>(request));
    for (const v1::Attempt& attempt : page.attempts()) {
      const bool open = attempt.end() == v1::Attempt::END_UNSPECIFIED;
      table.AddRow(
          {absl::StrCat(attempt.number()), PlainText(absl::StrJoin(attempt.devices(), ", ")),
           open ? "-" : v1::Attempt::End_Name(attempt.end()),
           attempt.last_step() > 0 ? absl::StrCat(attempt.first_step(), "-", attempt.last_step())
                                   : "-",
           attempt.resumed_from().empty() ? "-" : PlainText(CheckpointId(attempt.resumed_from())),
           FormatTimestamp(attempt.start_time()), FormatTimestamp(attempt.end_time()),
           PlainText(attempt.error().code())});
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (!table.empty()) {
    context.out() << "\n";
    table.Print(context.out());
  }
  return absl::OkStatus();
}

void PrintConfig(const v1::Job& job, const Context& context) {
  const std::vector<std::string> given(job.given().begin(), job.given().end());
  context.out() << "# " << PlainText(job.name()) << " " << DescribeState(job)
                << ": configuration with defaults\n"
                << MessageToYaml(job.config(), &given);
}

}  // namespace

int RunGet(const std::string& text, const Context& context) {
  const absl::StatusOr<FoundJob> found = FindJob(text, context);
  if (!found.ok()) return PrintError(found.status(), context);
  const absl::StatusOr<v1::Job> job = found->connection->GetJob(found->name);
  if (!job.ok()) return PrintError(job.status(), context);
  if (context.form == OutputForm::kYaml) {
    PrintConfig(*job, context);
  } else if (IsForPeople(context.form)) {
    PrintJob(*job, context);
    if (context.form == OutputForm::kWide) {
      const absl::Status status = PrintAttempts(*found->connection, found->name, context);
      if (!status.ok()) return PrintError(status, context);
    }
  } else {
    PrintMessage(*job, context.form, context.out());
  }
  context.out().flush();
  return kDone;
}

}  // namespace trainerd::client
