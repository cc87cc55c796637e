// SPDX-License-Identifier: Apache-2.0
#include "client/commands/watch_sinks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/common/job_text.h"
#include "client/net/job_names.h"
#include "client/view/event_text.h"
#include "client/view/format.h"
#include "client/view/frame.h"
#include "client/view/live_state.h"
#include "client/view/live_view.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job_file/output_json.h"

namespace trainerd::client {
namespace {

constexpr absl::Duration kDrawInterval = absl::Milliseconds(100);
// Ages and the ETA move without events.
constexpr absl::Duration kIdleDrawInterval = absl::Seconds(1);
// The view does not wait longer for the earlier curve.
constexpr absl::Duration kHistoryTime = absl::Milliseconds(1500);

constexpr char kCursorExpired[] =
    "trainctl: the daemon deleted events that were not read yet; continuing from a new snapshot";

bool IsFailure(const v1::Event& event) {
  return event.has_state_changed() && event.state_changed().to_state() == v1::Job::FAILED;
}

const v1::Job* JobIn(const LiveState& state, const std::string& name) {
  const LiveJob* live = state.Find(name);
  return live == nullptr ? nullptr : &live->job;
}

class PlainSink : public JobWatchSink {
 public:
  PlainSink(const Context& context, std::string parent, bool all, const InterruptScope& interrupt)
      : context_(context), parent_(std::move(parent)), all_(all), interrupt_(interrupt) {}

  void OnSnapshot(const v1::Job& job) override {
    if (all_) return;
    state_.SetSnapshot(job);
    ReportWaiting(job, context_);
  }

  // No event of a job that has ended will follow. PrintEnd says how a job failed.
  void OnSnapshotComplete() override {
    const v1::Job* ended = job();
    if (ended == nullptr || !IsTerminal(ended->state()) || ended->state() == v1::Job::FAILED)
      return;
    if (IsForPeople(context_.form) && !context_.talks()) context_.out() << EndLine(*ended) << '\n';
  }

  void OnEvents(const google::protobuf::RepeatedPtrField<v1::Event>& events) override {
    const bool prints = context_.form != OutputForm::kJson && context_.form != OutputForm::kYaml;
    for (const v1::Event& event : events) {
      // Of one job only, and no curves: memory stays bounded.
      if (!all_ && event.has_state_changed()) state_.Apply(event);
      if (!prints) continue;
      printed_failure_ = printed_failure_ || IsFailure(event);
      context_.out() << (context_.form == OutputForm::kJsonl ? OutputJsonLine(event)
                                                             : EventLine(event))
                     << '\n';
    }
    context_.out().flush();
  }

  void OnConnectionLost(const absl::Status& why) override { ReportConnectionLost(why, context_); }
  void OnConnectionBack() override { ReportReconnected(context_); }
  void OnCursorExpired() override { context_.err() << kCursorExpired << std::endl; }
  bool OnTick() override { return !interrupt_.requested(); }
  bool printed_failure() const override { return printed_failure_; }
  const v1::Job* job() const override { return JobIn(state_, parent_); }

 private:
  const Context& context_;
  const std::string parent_;
  const bool all_;
  LiveState state_;
  const InterruptScope& interrupt_;
  bool printed_failure_ = false;
};

class LiveSink : public JobWatchSink {
 public:
  LiveSink(const Context& context, Connection& connection, std::string parent, bool all,
           const InterruptScope& interrupt)
      : context_(context),
        connection_(connection),
        parent_(std::move(parent)),
        all_(all),
        interrupt_(interrupt) {}

  void OnSnapshot(const v1::Job& job) override {
    state_.SetSnapshot(job);
    changed_ = true;
  }

  void OnSnapshotComplete() override {
    if (!all_ && !history_loaded_) LoadHistory();
    history_loaded_ = true;
  }

  void OnEvents(const google::protobuf::RepeatedPtrField<v1::Event>& events) override {
    std::string lines;
    for (const v1::Event& event : events) {
      state_.Apply(event);
      printed_failure_ = printed_failure_ || IsFailure(event);
      if (IsNotable(event) && !all_) absl::StrAppend(&lines, EventSummaryLine(event), "\r\n");
    }
    changed_ = true;
    if (lines.empty()) return;
    context_.out() << frame_.Erase(context_.env.terminal_size().columns) << lines;
    Draw();
  }

  void OnConnectionLost(const absl::Status& why) override {
    connection_lost_ = absl::Now();
    why_ = std::string(why.message());
    changed_ = true;
  }
  void OnConnectionBack() override {
    connection_lost_ = absl::InfiniteFuture();
    changed_ = true;
  }
  void OnCursorExpired() override {
    context_.out() << frame_.Erase(context_.env.terminal_size().columns) << std::flush;
    context_.err() << kCursorExpired << "\r" << std::endl;
    changed_ = true;
  }

  void OnEnd() override { Draw(); }

  bool OnTick() override {
    if (interrupt_.requested()) return false;
    const absl::Duration since = absl::Now() - drawn_;
    const TerminalSize size = context_.env.terminal_size();
    const bool resized = size.columns != size_.columns || size.rows != size_.rows;
    if (resized || (changed_ && since >= kDrawInterval) || since >= kIdleDrawInterval) Draw();
    return true;
  }
  bool printed_failure() const override { return printed_failure_; }
  const v1::Job* job() const override { return JobIn(state_, parent_); }

 private:
  std::string EventSummaryLine(const v1::Event& event) const {
    const std::string time =
        absl::FormatTime("%H:%M:%S", FromProto(event.time()), absl::LocalTimeZone());
    return absl::StrCat(Dim(time, context_.env.color), "  ", EventContent(event));
  }

  // The curve, validation losses and alerts from before the snapshot.
  void LoadHistory() {
    v1::StreamStatusRequest request;
    request.set_parent(parent_);
    request.set_after("begin");
    request.set_until_terminal(true);
    for (const char* type : {"metrics", "eval", "checkpoint", "alert", "state_changed"})
      request.add_event_types(type);
    const auto stream = connection_.StreamStatus(request);
    const absl::Time until = absl::Now() + kHistoryTime;
    v1::StreamStatusResponse response;
    while (absl::Now() < until && !interrupt_.requested() &&
           stream->Next(std::min(kDrawInterval, until - absl::Now()), &response) !=
               StreamResult::kEnd) {
      for (const v1::Event& event : response.events()) state_.ApplyHistory(event);
      if (!response.cursor().empty() && response.lag_events() == 0) break;
      response.Clear();
    }
    changed_ = true;
  }

  void Draw() {
    size_ = context_.env.terminal_size();
    ViewOptions options;
    // A terminal wraps after its last column, so that column stays free.
    options.columns = std::max(1, size_.columns - 1);
    options.rows = std::max(1, size_.rows - 1);
    options.color = context_.env.color;
    options.utf8 = context_.env.utf8;
    options.now = absl::Now();
    if (connection_lost_ != absl::InfiniteFuture()) {
      options.connection = absl::StrCat("lost ", FormatSpan(absl::Now() - connection_lost_),
                                        " ago (", why_, "); retrying");
    }
    const LiveJob* job = state_.Find(parent_);
    std::vector<std::string> lines;
    if (all_) {
      lines = RenderJobs(state_, options);
    } else if (job != nullptr) {
      lines = RenderJob(*job, options);
    }
    context_.out() << frame_.Draw(lines, size_.columns);
    context_.out().flush();
    drawn_ = absl::Now();
    changed_ = false;
  }

  const Context& context_;
  Connection& connection_;
  const std::string parent_;
  const bool all_;
  const InterruptScope& interrupt_;
  LiveState state_;
  Frame frame_;
  TerminalSize size_;
  absl::Time drawn_ = absl::InfinitePast();
  absl::Time connection_lost_ = absl::InfiniteFuture();
  std::string why_;
  bool changed_ = false;
  bool history_loaded_ = false;
  bool printed_failure_ = false;
};

}  // namespace

std::unique_ptr<JobWatchSink> MakeWatchSink(const Context& context, Connection& connection,
                                            const std::string& parent,
                                            const InterruptScope& interrupt) {
  const bool all = parent == kAllJobs;
  if (context.env.out_is_terminal && context.form == OutputForm::kTable)
    return std::make_unique<LiveSink>(context, connection, parent, all, interrupt);
  return std::make_unique<PlainSink>(context, parent, all, interrupt);
}

}  // namespace trainerd::client
