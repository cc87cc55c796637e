// SPDX-License-Identifier: Apache-2.0
// trainctl wait: until a job has been in a state, or has ended. Follows the job's events rather
// than asking again and again, so that a state that lasted a moment is not missed, also while the
// daemon was away.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/job_text.h"
#include "client/net/job_names.h"
#include "client/net/status_details.h"
#include "client/net/status_watch.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

// Even `--timeout 0` waits this long for the first answer.
constexpr absl::Duration kFirstAnswer = absl::Seconds(2);

class WaitSink : public WatchSink {
 public:
  WaitSink(const std::vector<v1::Job::State>& states, absl::Time deadline, const Context& context)
      : states_(states), deadline_(deadline), context_(context) {}

  void OnSnapshot(const v1::Job& job) override { Take(job.state()); }
  void OnEvents(const google::protobuf::RepeatedPtrField<v1::Event>& events) override {
    for (const v1::Event& event : events) {
      if (event.has_state_changed()) Take(event.state_changed().to());
    }
  }
  void OnConnectionLost(const absl::Status& why) override { ReportConnectionLost(why, context_); }
  void OnConnectionBack() override { ReportReconnected(context_); }
  void OnCursorExpired() override {}

  bool OnTick() override {
    if (reached_) return false;
    const absl::Time now = absl::Now();
    return now < deadline_ || (!seen_ && now < started_ + kFirstAnswer);
  }

  bool reached() const { return reached_; }
  bool ended() const { return ended_; }

 private:
  void Take(v1::Job::State state) {
    seen_ = true;
    ended_ = IsTerminal(state);
    reached_ = reached_ ||
               (states_.empty() ? ended_ : std::count(states_.begin(), states_.end(), state) > 0);
  }

  const std::vector<v1::Job::State>& states_;
  const absl::Time deadline_;
  const Context& context_;
  const absl::Time started_ = absl::Now();
  bool seen_ = false;
  bool reached_ = false;
  bool ended_ = false;
};

int WaitFor(Connection& connection, const std::string& name,
            const std::vector<v1::Job::State>& states, absl::Time deadline,
            const Context& context) {
  WaitSink sink(states, deadline, context);
  const WatchEnd end =
      Watch(connection, {.parent = name, .event_types = {"state_changed"}, .until_terminal = true},
            &sink);
  if (end.kind == WatchEnd::Kind::kError) return PrintError(end.error, context.err());
  if (!sink.reached() && !sink.ended() && end.kind == WatchEnd::Kind::kLeft) {
    context.err() << "trainctl: timed out before " << PlainText(name)
                  << " reached the state; see `trainctl get " << PlainText(JobId(name)) << "`"
                  << std::endl;
    return kTimeout;
  }
  const absl::StatusOr<v1::Job> job = connection.GetJob(name);
  if (!job.ok()) return PrintError(job.status(), context.err());
  ReportAlerts(*job, context);
  if (!IsForPeople(context.form)) {
    PrintMessage(*job, context.form, context.out());
  } else if (!states.empty()) {
    PrintJobResult(*job, context);
  }
  if (states.empty()) {
    PrintEnd(*job, context);
    return ExitCodeOfEnd(job->state());
  }
  if (sink.reached()) return kDone;
  context.err() << "trainctl: " << PlainText(name) << " ended as " << StateName(job->state())
                << " and can no longer reach the requested state" << std::endl;
  return kRefused;
}

}  // namespace

int WaitForEnd(Connection& connection, const std::string& name, const Context& context) {
  return WaitFor(connection, name, {}, absl::InfiniteFuture(), context);
}

int RunWait(const WaitOptions& options, const Context& context) {
  absl::Time deadline = absl::InfiniteFuture();
  if (!options.timeout.empty()) {
    const absl::StatusOr<absl::Duration> timeout = ParseSpan(options.timeout);
    if (!timeout.ok()) return PrintError(timeout.status(), context.err());
    deadline = absl::Now() + *timeout;
  }
  std::vector<v1::Job::State> states;
  for (const std::string& text : options.states) {
    const absl::StatusOr<v1::Job::State> state = ParseState(text);
    if (!state.ok()) return PrintError(state.status(), context.err());
    states.push_back(*state);
  }
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context.err());
  const absl::StatusOr<std::string> name = ResolveJobName(**connection, options.job);
  if (!name.ok()) return PrintError(name.status(), context.err());
  return WaitFor(**connection, *name, states, deadline, context);
}

}  // namespace trainerd::client
