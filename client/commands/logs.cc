// SPDX-License-Identifier: Apache-2.0
// trainctl logs: the worker's output as it wrote it, by byte offset, so that a broken connection
// loses and repeats nothing.
#include <algorithm>

#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/job_text.h"
#include "client/format.h"
#include "client/job_names.h"
#include "client/status_details.h"
#include "client/text_width.h"

namespace trainerd::client {
namespace {

constexpr absl::Duration kLongestPause = absl::Seconds(1);
// Without --follow the whole answer is there: a connection that stays broken is an error.
constexpr absl::Duration kRetryFor = absl::Seconds(5);

class LogReader {
 public:
  LogReader(Connection& connection, const LogsOptions& options, const Context& context)
      : connection_(connection), options_(options), context_(context) {}

  absl::Status Run(const std::string& name) {
    request_.set_name(name);
    request_.set_attempt(options_.attempt);
    request_.set_follow(options_.follow);
    request_.set_tail_lines(options_.tail);
    while (true) {
      const absl::Status status = ReadOnce();
      if (!IsConnectionLost(status)) return status;
      if (!WaitForConnection(status)) return status;
    }
  }

  // Everything that was read, for the forms with one document.
  const v1::LogChunk& all() const { return all_; }

 private:
  absl::Status ReadOnce() {
    const auto stream = connection_.StreamLogs(request_);
    v1::LogChunk chunk;
    while (stream->Next(absl::InfiniteDuration(), &chunk) == StreamResult::kMessage) {
      if (lost_) SayBack(context_);
      lost_ = false;
      Take(chunk);
    }
    return stream->status();
  }

  void Take(const v1::LogChunk& chunk) {
    request_.set_attempt(chunk.attempt());
    request_.set_after_offset(chunk.next_offset());
    request_.set_tail_lines(0);
    if (chunk.dropped_bytes() > 0) {
      context_.err() << "trainctl: " << FormatBytes(chunk.dropped_bytes())
                     << " before this are gone: rotation removed them" << std::endl;
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

  // On a terminal without what could steer it; a character that the chunk cuts waits for the next
  // one.
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

  // False: not worth more waiting.
  bool WaitForConnection(const absl::Status& why) {
    if (!lost_) {
      SayLost(why, context_);
      lost_since_ = absl::Now();
    }
    lost_ = true;
    absl::Duration pause = absl::Milliseconds(100);
    do {
      if (!options_.follow && absl::Now() - lost_since_ > kRetryFor) return false;
      absl::SleepFor(pause);
      pause = std::min(pause * 2, kLongestPause);
    } while (!connection_.Reconnect().ok());
    return true;
  }

  Connection& connection_;
  const LogsOptions& options_;
  const Context& context_;
  v1::StreamLogsRequest request_;
  v1::LogChunk all_;
  std::string cut_;
  bool lost_ = false;
  absl::Time lost_since_;
};

}  // namespace

int RunLogs(const LogsOptions& options, const Context& context) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context.err());
  const absl::StatusOr<std::string> name = ResolveJobName(**connection, options.job);
  if (!name.ok()) return PrintError(name.status(), context.err());
  LogReader reader(**connection, options, context);
  const absl::Status status = reader.Run(*name);
  if (!status.ok()) return PrintError(status, context.err());
  if (context.form == OutputForm::kJson || context.form == OutputForm::kYaml) {
    PrintMessage(reader.all(), context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
