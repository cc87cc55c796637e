// SPDX-License-Identifier: Apache-2.0
// trainctl watch: a live view on a terminal, else one line or JSON document per event. Returns when
// the job has ended. Ctrl-C stops watching and does not affect the job.
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/interrupt.h"
#include "client/commands/common/job_text.h"
#include "client/commands/watch_sinks.h"
#include "client/net/job_names.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

// `job`: the watched job as last seen; nullptr = unknown, or all jobs.
int ReportInterrupted(const std::string& parent, const std::string& selector, const v1::Job* job,
                      const WatchEnd& end, const Context& context) {
  const bool all = parent == kAllJobs;
  const std::string id = all ? "" : PlainText(JobId(parent));
  const std::string continues = job == nullptr ? "continues" : Continues(*job, absl::Now());
  context.err() << "trainctl: "
                << (all ? "the jobs continue"
                        : absl::StrCat(PlainText(parent), " ", PlainText(continues)));
  if (job == nullptr || !IsTerminal(job->state())) {
    context.err() << "; continue watching with `trainctl watch" << (all ? "" : " ") << id;
    if (!selector.empty()) context.err() << " --selector " << ShellWord(PlainText(selector));
    if (!end.cursor.empty()) context.err() << " --after " << PlainText(end.cursor);
    context.err() << "`";
    const bool stops = job != nullptr && job->state() == v1::Job::STOPPING;
    if (!all && !stops) context.err() << "; stop the job with `trainctl stop " << id << "`";
  }
  context.err() << std::endl;
  return kInterrupted;
}

int WatchParent(Connection& connection, const std::string& parent,
                const WatchCommandOptions& options, const Context& context) {
  const std::string& after = options.after;
  const InterruptScope interrupt;
  const bool one_job = parent != kAllJobs;
  const std::unique_ptr<JobWatchSink> sink = MakeWatchSink(context, connection, parent, interrupt);
  if (one_job && !after.empty()) {
    // The stream begins with events, which change an existing snapshot.
    const absl::StatusOr<v1::Job> job = connection.GetJob(parent);
    if (!job.ok()) return PrintError(job.status(), context);
    sink->OnSnapshot(*job);
  }
  const WatchEnd end = Watch(connection,
                             {.parent = parent,
                              .after = after,
                              .label_selector = options.selector,
                              .until_terminal = one_job},
                             sink.get());
  switch (end.kind) {
    case WatchEnd::Kind::kLeft:
      return ReportInterrupted(parent, options.selector, sink->job(), end, context);
    case WatchEnd::Kind::kError:
      return PrintError(end.error, context);
    case WatchEnd::Kind::kEnded:
      break;
  }
  const absl::StatusOr<v1::Job> job = connection.GetJob(parent);
  if (!job.ok()) return PrintError(job.status(), context);
  if (context.form == OutputForm::kJson || context.form == OutputForm::kYaml)
    PrintMessage(*job, context.form, context.out());
  PrintEnd(*job, context, sink->printed_failure());
  return ExitCodeOfEnd(job->state());
}

}  // namespace

int WatchJob(Connection& connection, const std::string& name, const std::string& after,
             const Context& context) {
  return WatchParent(connection, name, {.job = name, .after = after}, context);
}

int RunWatch(const WatchCommandOptions& options, const Context& context) {
  if (!options.job.empty() && !options.selector.empty())
    return PrintUsageError("--selector is for watching all jobs; leave out the job", context);
  if (options.job.empty() &&
      (context.form == OutputForm::kJson || context.form == OutputForm::kYaml)) {
    return PrintUsageError(
        "watching all jobs does not end, so -o json and -o yaml cannot print it; use -o jsonl, or "
        "name a job",
        context);
  }
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  std::string parent = kAllJobs;
  if (!options.job.empty()) {
    absl::StatusOr<std::string> name = ResolveJobName(**connection, options.job);
    if (!name.ok()) return PrintError(name.status(), context);
    parent = *std::move(name);
  }
  return WatchParent(**connection, parent, options, context);
}

}  // namespace trainerd::client
