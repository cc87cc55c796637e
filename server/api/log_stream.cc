// SPDX-License-Identifier: Apache-2.0
#include "server/api/log_stream.h"

#include <atomic>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "server/api/status.h"
#include "server/commands/request.h"
#include "server/runs/log_reader.h"
#include "server/store/errors.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

constexpr int64_t kChunkBytes = 64 * 1024;
constexpr absl::Duration kPollEvery = absl::Milliseconds(100);

}  // namespace

// One call. At any time exactly one of these happens: a write is outstanding, the stream waits in
// the poller, or a step runs.
class LogStream : public grpc::ServerWriteReactor<v1::LogChunk>, public OpenCall {
 public:
  LogStream(Store& store, LogPoller& poller, StreamLimit& limit,
            grpc::CallbackServerContext* context, v1::StreamLogsRequest request)
      : store_(store),
        poller_(poller),
        limit_(limit),
        context_(context),
        request_(std::move(request)) {}

  void Begin(const std::string& token) {
    absl::Status status = limit_.Enter(this, token);
    if (status.ok()) status = Find();
    if (!status.ok()) {
      Finish(ToGrpc(status));
      return;
    }
    Step(/*draining=*/false);
  }

  // Sends the next chunk, waits for more, or ends the stream.
  void Step(bool draining) {
    if (cancelled_) return Finish(grpc::Status::CANCELLED);
    if (revoked_) return Finish(ToGrpc(RevokedError()));
    // Checked before the read: a read after the end of the attempt is complete.
    const bool ended = !request_.follow() || HasEnded();
    absl::StatusOr<LogSlice> slice = ReadLog(dir_, offset_, kChunkBytes);
    if (!slice.ok()) return Finish(ToGrpc(slice.status()));
    if (!slice->data.empty()) return Send(*std::move(slice));
    offset_ = slice->next_offset;
    if (draining) return Finish(ToGrpc(absl::UnavailableError("the daemon is shutting down")));
    if (ended) return Finish(grpc::Status::OK);
    poller_.Wait(this);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) cancelled_ = true;
    Step(/*draining=*/false);
  }
  void OnCancel() override {
    cancelled_ = true;
    poller_.Wake(/*draining=*/false);
  }
  void Revoke() override {
    revoked_ = true;
    poller_.Wake(/*draining=*/false);
  }
  void Break() override { context_->TryCancel(); }
  void OnDone() override {
    limit_.Leave(this);
    delete this;
  }

 private:
  absl::Status Find() {
    ASSIGN_OR_RETURN(const std::string run_dir,
                     store_.Read([&](Connection& db) { return FindAttempt(db); }));
    dir_ = AttemptDir(run_dir, attempt_);
    if (request_.after_offset() < 0) {
      return BadField("after_offset",
                      absl::StrCat(request_.after_offset(), " is negative; use 0 or more"));
    }
    offset_ = request_.after_offset();
    if (request_.tail_lines() > 0) {
      ASSIGN_OR_RETURN(offset_, LogTailOffset(dir_, request_.tail_lines()));
    }
    return absl::OkStatus();
  }

  // Sets job_id_ and attempt_ and returns the job's run directory.
  absl::StatusOr<std::string> FindAttempt(Connection& db) {
    ASSIGN_OR_RETURN(const std::string id, RequestedJob("name", request_.name()));
    ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, id));
    attempt_ = request_.attempt() > 0 ? request_.attempt() : record.job.attempt();
    job_id_ = JobId(record.job.name());
    if (attempt_ == 0) {
      return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "NOT_STARTED",
                             absl::StrCat(record.job.name(),
                                          " has no log because it has not started yet; wait for "
                                          "it to start"));
    }
    RETURN_IF_ERROR(LoadAttempt(db, job_id_, attempt_).status());
    return record.job.run_dir();
  }

  bool HasEnded() {
    const absl::StatusOr<v1::Attempt> attempt =
        store_.Read([&](Connection& db) { return LoadAttempt(db, job_id_, attempt_); });
    // A deleted job has no more log. After any other error the next step checks again.
    if (!attempt.ok()) return absl::IsNotFound(attempt.status());
    return attempt->end() != v1::Attempt::END_UNSPECIFIED;
  }

  void Send(LogSlice slice) {
    chunk_.Clear();
    chunk_.set_attempt(attempt_);
    chunk_.set_offset(slice.offset);
    chunk_.set_next_offset(slice.next_offset);
    chunk_.set_dropped_bytes(slice.dropped_bytes);
    chunk_.set_data(std::move(slice.data));
    offset_ = slice.next_offset;
    StartWrite(&chunk_);
  }

  Store& store_;
  LogPoller& poller_;
  StreamLimit& limit_;
  grpc::CallbackServerContext* const context_;
  const v1::StreamLogsRequest request_;
  std::string job_id_, dir_;
  int attempt_ = 0;
  int64_t offset_ = 0;
  v1::LogChunk chunk_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> revoked_{false};
};

LogPoller::LogPoller() : thread_([this] { Loop(); }) {}

LogPoller::~LogPoller() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = draining_ = true;
  }
  wake_up_.Wake();
  thread_.join();
}

void LogPoller::Wait(LogStream* stream) {
  absl::MutexLock lock(&mutex_);
  waiting_.insert(stream);
}

void LogPoller::Wake(bool draining) {
  {
    absl::MutexLock lock(&mutex_);
    draining_ |= draining;
  }
  wake_up_.Wake();
}

void LogPoller::Loop() {
  while (true) {
    std::set<LogStream*> ready;
    bool draining = false;
    {
      absl::MutexLock lock(&mutex_);
      auto has_work = [this]()
                          ABSL_NO_THREAD_SAFETY_ANALYSIS { return !waiting_.empty() || stopping_; };
      mutex_.Await(absl::Condition(&has_work));
      draining = draining_;
    }
    if (!draining) wake_up_.SleepFor(kPollEvery);
    {
      absl::MutexLock lock(&mutex_);
      draining = draining_;
      ready.swap(waiting_);
      if (stopping_ && ready.empty()) return;
    }
    for (LogStream* stream : ready) stream->Step(draining);
  }
}

grpc::ServerWriteReactor<v1::LogChunk>* StartStreamLogs(Store& store, LogPoller& poller,
                                                        const StreamPermit& permit,
                                                        grpc::CallbackServerContext* context,
                                                        const v1::StreamLogsRequest& request) {
  auto* stream = new LogStream(store, poller, permit.limit, context, request);
  stream->Begin(permit.token);
  return stream;
}

}  // namespace trainerd::server
