// SPDX-License-Identifier: Apache-2.0
#include "client/net/status_watch.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "client/net/status_details.h"
#include "proto/contract/job/job_state.h"

namespace trainerd::client {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);
// INTERNAL and UNKNOWN without a reason are a broken connection or a broken daemon; this many in a
// row are a broken daemon.
constexpr int kMaxUnclearFailures = 20;

class Watcher {
 public:
  Watcher(Connection& connection, const WatchOptions& options, WatchSink* sink)
      : connection_(connection), options_(options), sink_(sink), cursor_(options.after) {}

  WatchEnd Run() {
    while (true) {
      const absl::Status status = FollowOnce();
      if (left_) return End(WatchEnd::Kind::kLeft);
      if (status.ok()) {
        if (ended_) return End(WatchEnd::Kind::kEnded);
        // The stream ended without an error before the job did: the daemon is shutting down.
        if (!WaitForConnection(absl::UnavailableError("the daemon closed the stream")))
          return End(WatchEnd::Kind::kLeft);
        continue;
      }
      if (Reason(status) == "CURSOR_EXPIRED" && !cursor_.empty()) {
        cursor_.clear();
        sink_->OnCursorExpired();
        continue;
      }
      if (!ShouldRetry(status)) {
        WatchEnd end = End(WatchEnd::Kind::kError);
        end.error = status;
        return end;
      }
      if (!WaitForConnection(status)) return End(WatchEnd::Kind::kLeft);
    }
  }

 private:
  WatchEnd End(WatchEnd::Kind kind) const {
    return {.kind = kind, .cursor = received_ ? cursor_ : options_.after};
  }

  bool ShouldRetry(const absl::Status& status) {
    // After a restart all watchers reconnect at once; the limit is exceeded only for a moment.
    if ((received_ || options_.retry_refused) &&
        status.code() == absl::StatusCode::kResourceExhausted)
      return true;
    if (!IsConnectionLost(status)) return false;
    if (status.code() == absl::StatusCode::kUnavailable ||
        status.code() == absl::StatusCode::kCancelled)
      return true;
    return ++unclear_failures_ < kMaxUnclearFailures;
  }

  // One call of StreamStatus, to its end.
  absl::Status FollowOnce() {
    v1::StreamStatusRequest request;
    request.set_parent(options_.parent);
    request.set_until_terminal(options_.until_terminal);
    request.set_send_snapshot(cursor_.empty());
    request.set_after(cursor_);
    request.set_label_selector(options_.label_selector);
    for (const std::string& type : options_.event_types) request.add_event_types(type);
    auto stream = connection_.StreamStatus(request);
    absl::Time last_message = absl::Now();
    bool snapshot_done = !request.send_snapshot();
    while (true) {
      v1::StreamStatusResponse response;
      const StreamResult result = stream->Next(kTick, &response);
      if (result == StreamResult::kEnd) break;
      if (result == StreamResult::kNothingYet) {
        if (!Tick()) return absl::OkStatus();
        if (absl::Now() - last_message > options_.silence) {
          return absl::UnavailableError("no message from the daemon for " +
                                        absl::FormatDuration(options_.silence));
        }
        continue;
      }
      last_message = absl::Now();
      Take(response, &snapshot_done);
      if (!Tick()) return absl::OkStatus();
    }
    if (!stream->status().ok()) return stream->status();
    if (!ended_ && options_.until_terminal) ended_ = IsJobOver();
    return absl::OkStatus();
  }

  void Take(const v1::StreamStatusResponse& response, bool* snapshot_done) {
    if (lost_) {
      lost_ = false;
      sink_->OnConnectionBack();
    }
    unclear_failures_ = 0;
    for (const v1::Job& job : response.snapshot()) {
      sink_->OnSnapshot(job);
      if (IsTerminal(job.state())) ended_ = options_.until_terminal;
    }
    if (response.snapshot_complete()) {
      *snapshot_done = true;
      sink_->OnSnapshotComplete();
    }
    for (const v1::Event& event : response.events()) {
      if (event.has_state_changed() && IsTerminal(event.state_changed().to_state()))
        ended_ = options_.until_terminal;
    }
    if (!response.events().empty()) sink_->OnEvents(response.events());
    // A watch continues from a cursor only after a complete snapshot; a broken one is repeated.
    if (*snapshot_done && !response.cursor().empty()) {
      cursor_ = response.cursor();
      received_ = true;
    }
  }

  // The stream ended without an event about the end of the job: the job ended before the cursor.
  bool IsJobOver() {
    const absl::StatusOr<v1::Job> job = connection_.GetJob(options_.parent);
    return job.ok() ? IsTerminal(job->state()) : job.status().code() == absl::StatusCode::kNotFound;
  }

  bool Tick() {
    if (!left_ && !sink_->OnTick()) left_ = true;
    return !left_;
  }

  // False: the sink stops.
  bool WaitForConnection(const absl::Status& why) {
    if (!lost_) {
      lost_ = true;
      pause_ = kFirstPause;
      sink_->OnConnectionLost(why);
    }
    do {
      const absl::Time until =
          absl::Now() + std::max(pause_, RetryDelay(why).value_or(absl::ZeroDuration()));
      pause_ = std::min(pause_ * 2, kLongestPause);
      while (absl::Now() < until) {
        if (!Tick()) return false;
        absl::SleepFor(std::min(kTick, until - absl::Now()));
      }
    } while (!connection_.Reconnect().ok());
    return Tick();
  }

  Connection& connection_;
  const WatchOptions options_;
  WatchSink* const sink_;
  std::string cursor_;
  // cursor_ came from the daemon.
  bool received_ = false;
  bool ended_ = false;
  bool left_ = false;
  bool lost_ = false;
  int unclear_failures_ = 0;
  absl::Duration pause_ = kFirstPause;
};

}  // namespace

WatchEnd Watch(Connection& connection, const WatchOptions& options, WatchSink* sink) {
  WatchEnd end = Watcher(connection, options, sink).Run();
  sink->OnEnd();
  return end;
}

}  // namespace trainerd::client
