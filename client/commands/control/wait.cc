// SPDX-License-Identifier: Apache-2.0
// trainctl wait: until each job has been in a state, or has ended. Follows the jobs' events rather
// than asking again and again, so that a state that lasted a moment is not missed, also while the
// daemon was away.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_set.h"
#include "client/commands/common/job_text.h"
#include "client/net/job_names.h"
#include "client/net/status_watch.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

// Even `--timeout 0` waits this long for the first answer.
constexpr absl::Duration kFirstAnswer = absl::Seconds(2);

struct WaitGoal {
  // Empty: the end of the job.
  std::vector<v1::Job::State> states;
  absl::Time deadline = absl::InfiniteFuture();
};

// Reports each job as soon as it is done: it reached a state of the goal, or has ended.
class WaitSink : public WatchSink {
 public:
  WaitSink(Connection& connection, const std::vector<std::string>& names, const WaitGoal& goal,
           const Context& context)
      : connection_(connection),
        goal_(goal),
        context_(context),
        documents_(context, names.size() == 1) {
    for (const std::string& name : names) jobs_[name] = {};
  }

  void OnSnapshot(const v1::Job& job) override { Take(job); }
  void OnSnapshotComplete() override {
    // A job that no longer exists is an error of GetJob.
    for (auto& [name, job] : jobs_) job.ended = job.ended || !job.seen;
    complete_ = true;
  }
  void OnEvents(const google::protobuf::RepeatedPtrField<v1::Event>& events) override {
    for (const v1::Event& event : events) {
      if (!event.has_state_changed()) continue;
      v1::Job job;
      job.set_name(event.job());
      job.set_state(event.state_changed().to_state());
      job.set_desired_state(event.state_changed().desired_state());
      job.set_wait_reason(event.state_changed().wait_reason());
      Take(job);
    }
  }
  void OnConnectionLost(const absl::Status& why) override { ReportConnectionLost(why, context_); }
  void OnConnectionBack() override { ReportReconnected(context_); }
  void OnCursorExpired() override {}

  bool OnTick() override {
    ReportDone();
    if (std::all_of(jobs_.begin(), jobs_.end(),
                    [](const auto& entry) { return entry.second.reported; }))
      return false;
    const absl::Time now = absl::Now();
    return now < goal_.deadline || (!complete_ && now < started_ + kFirstAnswer);
  }

  // After the watch: reports the jobs that are not done as timed out. `all_ended`: the daemon ended
  // the watch, because no job of it runs. Returns the exit code.
  int Finish(bool all_ended) {
    for (auto& [name, job] : jobs_) job.ended = job.ended || all_ended;
    ReportDone();
    for (const auto& [name, job] : jobs_) {
      if (job.reported) continue;
      code_ =
          Worse(code_, PrintError(absl::DeadlineExceededError(absl::StrCat(
                                      "timed out before ", name,
                                      " reached the state; see `trainctl get ", JobId(name), "`")),
                                  context_));
    }
    documents_.Finish();
    return code_;
  }

 private:
  struct WaitedJob {
    bool seen = false;
    bool reached = false;
    bool ended = false;
    bool reported = false;
    bool paused = false;
  };

  void Take(const v1::Job& job) {
    const auto found = jobs_.find(job.name());
    if (found == jobs_.end()) return;
    WaitedJob& waited = found->second;
    waited.seen = true;
    waited.ended = IsTerminal(job.state());
    const bool now = goal_.states.empty()
                         ? waited.ended
                         : std::count(goal_.states.begin(), goal_.states.end(), job.state()) > 0;
    waited.reached = waited.reached || now;
    const bool paused = WaitsForResume(job);
    if (paused && !waited.paused && !waited.reached) ReportWaiting(job, context_);
    waited.paused = paused;
  }

  void ReportDone() {
    for (auto& [name, job] : jobs_) {
      if (job.reported || (!job.reached && !job.ended)) continue;
      job.reported = true;
      code_ = Worse(code_, Report(name, job));
    }
  }

  int Report(const std::string& name, const WaitedJob& waited) {
    const absl::StatusOr<v1::Job> job = connection_.GetJob(name);
    if (!job.ok()) return PrintError(job.status(), context_);
    ReportAlerts(*job, context_);
    documents_.Add(*job);
    if (goal_.states.empty()) {
      PrintEnd(*job, context_);
      return ExitCodeOfEnd(job->state());
    }
    if (IsForPeople(context_.form)) PrintJobResult(*job, context_);
    if (waited.reached) return kDone;
    return PrintError(
        absl::FailedPreconditionError(absl::StrCat(name, " ended as ", StateName(job->state()),
                                                   " and can no longer reach the requested state")),
        context_);
  }

  Connection& connection_;
  const WaitGoal& goal_;
  const Context& context_;
  const absl::Time started_ = absl::Now();
  std::map<std::string, WaitedJob> jobs_;
  JobDocuments documents_;
  bool complete_ = false;
  int code_ = kDone;
};

int WaitFor(Connection& connection, const std::vector<std::string>& names, const WaitGoal& goal,
            const Context& context) {
  const bool one = names.size() == 1;
  WaitSink sink(connection, names, goal, context);
  const WatchEnd end = Watch(connection,
                             {.parent = one ? names[0] : kAllJobs,
                              .event_types = {"state_changed"},
                              .until_terminal = one},
                             &sink);
  if (end.kind == WatchEnd::Kind::kError) return PrintError(end.error, context);
  return sink.Finish(/*all_ended=*/end.kind == WatchEnd::Kind::kEnded);
}

absl::StatusOr<WaitGoal> ReadGoal(const WaitOptions& options) {
  WaitGoal goal;
  if (!options.timeout.empty()) {
    const absl::StatusOr<absl::Duration> timeout = ParseSpan(options.timeout);
    if (!timeout.ok()) return timeout.status();
    goal.deadline = absl::Now() + *timeout;
  }
  for (const std::string& text : options.states) {
    const absl::StatusOr<v1::Job::State> state = ParseState(text);
    if (!state.ok()) return state.status();
    goal.states.push_back(*state);
  }
  return goal;
}

}  // namespace

int WaitForEnd(Connection& connection, const std::string& name, const Context& context) {
  return WaitFor(connection, {name}, {}, context);
}

int RunWait(const WaitOptions& options, const Context& context) {
  const absl::StatusOr<WaitGoal> goal = ReadGoal(options);
  if (!goal.ok()) return PrintError(goal.status(), context);
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<std::vector<std::string>> names =
      ResolveJobNames(**connection, options.jobs);
  if (!names.ok()) return PrintError(names.status(), context);
  return WaitFor(**connection, *names, *goal, context);
}

}  // namespace trainerd::client
