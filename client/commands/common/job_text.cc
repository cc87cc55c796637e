// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/job_text.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job/alerts.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {

namespace {

std::string HowToContinue(const v1::Job& job, const std::string& id) {
  if (job.latest_checkpoint().empty())
    return "it has no checkpoint, so fix the cause and submit its job file again";
  return absl::StrCat("after fixing the cause, continue it with `trainctl submit --from ", id, "`");
}

}  // namespace

void PrintJobResult(const v1::Job& job, const Context& context) {
  if (!IsForPeople(context.form)) {
    PrintMessage(job, context.form, context.out());
    return;
  }
  context.out() << PlainText(job.name()) << " "
                << ColorByState(job.state(), DescribeState(job), context.env.color) << std::endl;
}

ExitCode ExitCodeOfEnd(v1::Job::State state) {
  switch (state) {
    case v1::Job::SUCCEEDED:
      return kDone;
    case v1::Job::FAILED:
      return kJobFailed;
    case v1::Job::STOPPED:
    case v1::Job::CANCELLED:
      return kJobStopped;
    default:
      return kRefused;
  }
}

void PrintEnd(const v1::Job& job, const Context& context, bool error_printed) {
  // A document holds the error.
  if (!IsForPeople(context.form)) return;
  const std::string id = PlainText(JobId(job.name()));
  if (job.state() == v1::Job::FAILED) {
    context.err() << "trainctl: " << PlainText(job.name()) << " failed";
    if (!error_printed) {
      context.err() << ": "
                    << PlainTextLines(
                           absl::StrCat(job.error().code(), ": ", job.error().message()));
    }
    context.err() << "\n"
                  << "trainctl: see its output with `trainctl logs " << id << "`; "
                  << HowToContinue(job, id) << std::endl;
    return;
  }
  if (context.talks()) context.out() << EndLine(job) << std::endl;
}

std::string EndLine(const v1::Job& job) {
  std::string line = absl::StrCat(PlainText(job.name()), " ", DescribeState(job));
  switch (job.state()) {
    case v1::Job::SUCCEEDED:
      absl::StrAppend(&line, ": the model is in ", PlainText(FinalPath(job)));
      break;
    case v1::Job::STOPPED:
      absl::StrAppend(&line, " at ", PlainText(CheckpointId(job.latest_checkpoint())),
                      ": `trainctl submit --from ", PlainText(JobId(job.name())), "` continues it");
      break;
    default:
      break;
  }
  return line;
}

void ReportWaiting(const v1::Job& job, const Context& context) {
  const std::string waits = WaitsFor(job, absl::Now());
  if (waits.empty()) return;
  context.err() << "trainctl: " << PlainText(job.name()) << " is " << StateName(job.state())
                << " and " << PlainText(waits) << std::endl;
}

void ReportAlerts(const v1::Job& job, const Context& context) {
  for (const v1::Alert& alert : job.alerts()) {
    context.err() << "trainctl: " << PlainText(job.name())
                  << (alert.active() ? ": alert " : ": past alert ") << PlainText(AlertText(alert))
                  << std::endl;
  }
}

std::string AlertTypes(const v1::Job& job) {
  std::vector<std::string> active, past;
  for (const v1::Alert& alert : job.alerts())
    (alert.active() ? active : past).push_back(alert.type());
  std::string text = absl::StrJoin(active, ", ");
  if (!past.empty())
    absl::StrAppend(&text, text.empty() ? "" : " ", "(past: ", absl::StrJoin(past, ", "), ")");
  return text.empty() ? "-" : PlainText(text);
}

void ReportConnectionLost(const absl::Status& why, const Context& context) {
  context.err() << "trainctl: "
                << (absl::IsResourceExhausted(why) ? "refused (" : "connection lost (")
                << PlainText(std::string(why.message())) << "); retrying" << std::endl;
}

void ReportReconnected(const Context& context) {
  context.err() << "trainctl: reconnected" << std::endl;
}

}  // namespace trainerd::client
