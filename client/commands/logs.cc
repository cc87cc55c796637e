// SPDX-License-Identifier: Apache-2.0
// trainctl logs: the worker's output byte for byte. After a broken connection it continues at the
// byte offset. The daemon's stream ends with the attempt; --follow continues with the next attempt.
#include <algorithm>

#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_text.h"
#include "client/net/status_details.h"
#include "client/net/status_watch.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/job_state.h"

namespace trainerd::client {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(1);
// Without --follow, a connection that stays broken for this long is an error.
constexpr absl::Duration kRetryFor = absl::Seconds(5);

class LogReader {
 public:
  LogReader(Connection& connection, const LogsOptions& options, const Context& context)
      : connection_(connection), options_(options), context_(context) {}

  // One attempt (0 = the newest), with `follow` to its end. `tail` lines of it, 0 = all.
  absl::Status Read(const std::string& name, int attempt, int tail) {
    request_.set_name(name);
    request_.set_attempt(attempt);
    request_.set_after_offset(0);
    request_.set_follow(options_.follow);
    request_.set_tail_lines(tail);
    cut_.clear();
    while (true) {
      const absl::Status status = ReadOnce();
      // A command that has printed a part of the log waits until the daemon accepts a stream again.
      const bool refused = options_.follow && received_ && Reason(status) == "WATCHERS";
      if (!refused && !IsConnectionLost(status)) return status;
      if (!WaitForConnection(status)) return status;
    }
  }

  // All that was read, for the forms with one document.
  const v1::LogChunk& all() const { return all_; }

 private:
  absl::Status ReadOnce() {
    const auto stream = connection_.StreamLogs(request_);
    v1::LogChunk chunk;
    while (stream->Next(absl::InfiniteDuration(), &chunk) == StreamResult::kMessage) {
      if (lost_) ReportReconnected(context_);
      lost_ = false;
      Take(chunk);
    }
    return stream->status();
  }

  void Take(const v1::LogChunk& chunk) {
    received_ = true;
    pause_ = kFirstPause;
    request_.set_attempt(chunk.attempt());
    request_.set_after_offset(chunk.next_offset());
    request_.set_tail_lines(0);
    if (chunk.dropped_bytes() > 0) {
      context_.err() << "trainctl: log rotation deleted " << FormatBytes(chunk.dropped_bytes())
                     << " before this point" << std::endl;
    }
    if (IsForPeople(context_.form)) {
      Print(chunk.data());
    } else if (context_.form == OutputForm::kJsonl) {
      PrintMessage(chunk, context_.form, context_.out());
    } else {
      if (all_.data().empty()) all_.set_offset(chunk.offset());
      all_.set_attempt(chunk.attempt());
      all_.mutable_data()->append(chunk.data());
      all_.set_next_offset(chunk.next_offset());
      all_.set_dropped_bytes(all_.dropped_bytes() + chunk.dropped_bytes());
    }
    context_.out().flush();
  }

  // A terminal gets no control characters. An incomplete character at the end of the chunk waits
  // for the next chunk.
  void Print(const std::string& data) {
    if (!context_.env.out_is_terminal) {
      context_.out() << data;
      return;
    }
    cut_ += data;
    const size_t whole = WholeCharacters(cut_);
    context_.out() << PlainTextLines(cut_.substr(0, whole));
    cut_.erase(0, whole);
  }

  // False: kRetryFor has passed.
  bool WaitForConnection(const absl::Status& why) {
    if (!lost_) {
      ReportConnectionLost(why, context_);
      lost_since_ = absl::Now();
    }
    lost_ = true;
    do {
      if (!options_.follow && absl::Now() - lost_since_ > kRetryFor) return false;
      absl::SleepFor(std::max(pause_, RetryDelay(why).value_or(absl::ZeroDuration())));
      pause_ = std::min(pause_ * 2, kLongestPause);
    } while (!connection_.Reconnect().ok());
    return true;
  }

  Connection& connection_;
  const LogsOptions& options_;
  const Context& context_;
  v1::StreamLogsRequest request_;
  v1::LogChunk all_;
  std::string cut_;
  bool received_ = false;
  bool lost_ = false;
  absl::Time lost_since_;
  absl::Duration pause_ = kFirstPause;
};

// Waits until the job has an attempt after `last` (0 = none yet), or has ended.
class NextAttemptSink : public WatchSink {
 public:
  NextAttemptSink(int last, const Context& context) : last_(last), context_(context) {}

  void OnSnapshot(const v1::Job& job) override {
    newest_ = std::max(newest_, job.attempt());
    if (newest_ > last_ || IsTerminal(job.state()) || reported_) return;
    reported_ = true;
    context_.err() << "trainctl: ";
    if (last_ > 0) context_.err() << "attempt " << last_ << " has ended, ";
    context_.err() << "the job is " << StateName(job.state()) << "; waiting for attempt "
                   << last_ + 1;
    if (WaitsForResume(job)) context_.err() << ", which " << WaitsFor(job, absl::Now());
    context_.err() << std::endl;
  }
  void OnEvents(const google::protobuf::RepeatedPtrField<v1::Event>& events) override {
    for (const v1::Event& event : events) newest_ = std::max(newest_, event.attempt());
  }
  void OnConnectionLost(const absl::Status& why) override { ReportConnectionLost(why, context_); }
  void OnConnectionBack() override { ReportReconnected(context_); }
  void OnCursorExpired() override {}
  bool OnTick() override { return !found(); }

  bool found() const { return newest_ > last_; }

 private:
  const int last_;
  const Context& context_;
  int newest_ = 0;
  bool reported_ = false;
};

// Reads every attempt in order until the job has ended.
absl::Status FollowJob(Connection& connection, const std::string& name, int tail, LogReader* reader,
                       const Context& context) {
  ASSIGN_OR_RETURN(const v1::Job job, connection.GetJob(name));
  int attempt = job.attempt();
  if (attempt > 0) RETURN_IF_ERROR(reader->Read(name, attempt, tail));
  while (true) {
    NextAttemptSink sink(attempt, context);
    const WatchEnd end = Watch(connection,
                               {.parent = name,
                                .event_types = {"state_changed"},
                                .until_terminal = true,
                                .retry_refused = attempt > 0},
                               &sink);
    if (end.kind == WatchEnd::Kind::kError) {
      // The job was deleted after its end: its whole log has been read.
      return attempt > 0 && absl::IsNotFound(end.error) ? absl::OkStatus() : end.error;
    }
    if (!sink.found()) break;
    RETURN_IF_ERROR(reader->Read(name, ++attempt, /*tail=*/0));
  }
  // The job ended before its first attempt: the daemon returns that there is no log.
  return attempt > 0 ? absl::OkStatus() : reader->Read(name, /*attempt=*/0, tail);
}

}  // namespace

int RunLogs(const LogsOptions& options, const Context& context) {
  const absl::StatusOr<FoundJob> found = FindJob(options.job, context);
  if (!found.ok()) return PrintError(found.status(), context);
  LogReader reader(*found->connection, options, context);
  const bool one_document = context.form == OutputForm::kJson || context.form == OutputForm::kYaml;
  // A document covers one attempt, because byte offsets are per attempt.
  const bool follow_job = options.follow && options.attempt == 0 && !one_document;
  const absl::Status status =
      follow_job ? FollowJob(*found->connection, found->name, options.tail, &reader, context)
                 : reader.Read(found->name, options.attempt, options.tail);
  if (!status.ok()) return PrintError(status, context);
  if (one_document) {
    PrintMessage(reader.all(), context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
