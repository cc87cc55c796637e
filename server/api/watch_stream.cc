// SPDX-License-Identifier: Apache-2.0
#include "server/api/watch_stream.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/api/request_check.h"
#include "server/api/status.h"
#include "server/commands/queries/queries.h"
#include "server/commands/request.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kDefaultWait = absl::Seconds(30);
constexpr absl::Duration kMaxWait = absl::Hours(1);

// A slice that keeps the shared message alive instead of copying it.
grpc::Slice ShareSlice(Bytes message) {
  auto* owner = new Bytes(std::move(message));
  return grpc::Slice(
      const_cast<char*>((*owner)->data()), (*owner)->size(),
      [](void* pointer) { delete static_cast<Bytes*>(pointer); }, owner);
}

// What both calls share: a place within the stream limit, and a watcher that a cancellation ends.
class WatchCall : public WatchSink, public OpenCall {
 public:
  explicit WatchCall(WatchParts parts) : parts_(parts) {}

  void Revoke() override {
    revoked_ = true;
    Cancel();
  }

 protected:
  // Whether the caller may make the call, and there is room for it. Leave ends what this begins.
  absl::Status Enter(const grpc::ServerContextBase& context,
                     const google::protobuf::Message& request) {
    const absl::StatusOr<Identity> identity = parts_.access.Check(context, request);
    if (!identity.ok()) return identity.status();
    return parts_.limit.Enter(this, identity->token);
  }
  void Leave() { parts_.limit.Leave(this); }
  // The result of the call instead of `status`.
  absl::Status ResultOf(const absl::Status& status) const {
    return revoked_ ? RevokedError() : status;
  }
  void AddWatcher(WatchOptions options) {
    parts_.fan_out.Add(std::move(options), this);
    added_ = true;
    // A cancellation before this point did not find the watcher.
    if (cancelled_) parts_.fan_out.Cancel(watch_id);
  }
  void Cancel() {
    cancelled_ = true;
    if (added_) parts_.fan_out.Cancel(watch_id);
  }

  WatchParts parts_;

 private:
  std::atomic<bool> added_{false};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> revoked_{false};
};

class StatusStream : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public WatchCall {
 public:
  StatusStream(WatchParts parts, grpc::CallbackServerContext* context)
      : WatchCall(parts), context_(context) {}

  void Begin(const grpc::ByteBuffer& bytes) {
    v1::StreamStatusRequest request;
    // Parsing consumes the buffer. The copy shares the slices.
    grpc::ByteBuffer copy = bytes;
    grpc::Status parsed =
        grpc::SerializationTraits<v1::StreamStatusRequest>::Deserialize(&copy, &request);
    if (!parsed.ok()) {
      grpc::ServerWriteReactor<grpc::ByteBuffer>::Finish(
          NotAMessage("/trainerd.v1.Trainer/StreamStatus"));
      return;
    }
    if (absl::Status entered = Enter(*context_, request); !entered.ok()) return FinishNow(entered);
    absl::StatusOr<WatchOptions> options = MakeWatch(parts_.store, request);
    if (!options.ok()) return FinishNow(options.status());
    // Its position is fixed: a client that has the headers misses nothing of what it does next.
    StartSendInitialMetadata();
    AddWatcher(*std::move(options));
  }

  void Write(Bytes message) override {
    grpc::Slice slice = ShareSlice(std::move(message));
    buffer_ = grpc::ByteBuffer(&slice, 1);
    StartWrite(&buffer_);
  }
  void Finish(const absl::Status& status) override { FinishNow(ResultOf(status)); }
  void Abandon() override { context_->TryCancel(); }
  void Break() override { context_->TryCancel(); }

  void OnWriteDone(bool ok) override { parts_.fan_out.WriteDone(watch_id, ok); }
  void OnCancel() override { Cancel(); }
  void OnDone() override {
    Leave();
    delete this;
  }

 private:
  void FinishNow(const absl::Status& status) {
    grpc::ServerWriteReactor<grpc::ByteBuffer>::Finish(ToGrpc(status));
  }

  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer buffer_;
};

class JobWaiter : public grpc::ServerUnaryReactor, public WatchCall {
 public:
  JobWaiter(WatchParts parts, const v1::WaitJobRequest& request, v1::Job* response)
      : WatchCall(parts), request_(request), response_(response) {}

  void Begin(const grpc::ServerContextBase& context) {
    if (absl::Status entered = Enter(context, request_); !entered.ok()) return Fail(entered);
    const absl::Duration timeout =
        request_.has_timeout() ? FromProto(request_.timeout()) : kDefaultWait;
    if (timeout < absl::ZeroDuration() || timeout > kMaxWait) {
      return Fail(
          BadField("timeout", absl::StrCat(absl::FormatDuration(timeout), " is not in 0s..3600s")));
    }
    if (const absl::Status checked = CheckRequest(request_); !checked.ok()) return Fail(checked);
    const absl::StatusOr<std::string> id = RequestedJob("name", request_.name());
    if (!id.ok()) return Fail(id.status());
    v1::StreamStatusRequest watch;
    watch.set_parent(JobName(*id));
    watch.set_send_snapshot(true);
    watch.add_event_types("state_changed");
    absl::StatusOr<WatchOptions> options = MakeWatch(parts_.store, watch);
    if (!options.ok()) return Fail(options.status());
    options->deadline = SteadyNow() + timeout;
    options->bookmark_interval = kMaxWait;
    AddWatcher(*std::move(options));
  }

  // The call is its own watcher: it reads each message here. The message with the state that was
  // waited for ends the watch.
  void Write(Bytes message) override {
    v1::StreamStatusResponse response;
    response.ParseFromString(*message);
    bool reached = false;
    for (const v1::Job& job : response.snapshot()) reached |= IsReached(job.state());
    for (const v1::Event& event : response.events()) {
      reached |= IsReached(event.state_changed().to_state());
    }
    reached_ |= reached;
    parts_.fan_out.WriteDone(watch_id, /*ok=*/true);
    if (reached) parts_.fan_out.Cancel(watch_id);
  }
  void Abandon() override {}
  void Finish(const absl::Status& status) override {
    if (ResultOf(status) == status && (absl::IsDeadlineExceeded(status) || reached_)) {
      return parts_.fan_out.PostRead([this] { Reply(); });
    }
    Fail(ResultOf(status));
  }

  void OnCancel() override { Cancel(); }
  void OnDone() override {
    Leave();
    delete this;
  }

 private:
  void Reply() {
    absl::StatusOr<v1::Job> job = GetJob(parts_.store, request_.name());
    if (!job.ok()) return Fail(job.status());
    *response_ = *std::move(job);
    grpc::ServerUnaryReactor::Finish(grpc::Status::OK);
  }
  bool IsReached(v1::Job::State state) const {
    if (IsTerminal(state)) return true;
    return std::find(request_.states().begin(), request_.states().end(), state) !=
           request_.states().end();
  }
  void Fail(const absl::Status& status) { grpc::ServerUnaryReactor::Finish(ToGrpc(status)); }

  const v1::WaitJobRequest request_;
  v1::Job* const response_;
  // Fan-out thread only.
  bool reached_ = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartStreamStatus(WatchParts parts,
                                                              grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer& request) {
  auto* stream = new StatusStream(parts, context);
  stream->Begin(request);
  return stream;
}

grpc::ServerUnaryReactor* StartWaitJob(WatchParts parts, grpc::CallbackServerContext* context,
                                       const v1::WaitJobRequest& request, v1::Job* response) {
  auto* waiter = new JobWaiter(parts, request, response);
  waiter->Begin(*context);
  return waiter;
}

}  // namespace trainerd::server
