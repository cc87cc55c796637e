// SPDX-License-Identifier: Apache-2.0
#include "server/api/upload_stream.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "server/api/request_check.h"
#include "server/api/status.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

// An upload in progress is noted this often, so that it does not count as abandoned.
constexpr absl::Duration kNoteEvery = absl::Minutes(10);

// One call. At any time exactly one of these happens: a read is outstanding, a task of the stream
// waits for a thread, or it runs.
class UploadStream final : public grpc::ServerReadReactor<grpc::ByteBuffer>, public OpenCall {
 public:
  UploadStream(UploadParts parts, grpc::CallbackServerContext* context, grpc::ByteBuffer* response)
      : parts_(parts), context_(context), response_(response) {}

  void Begin() {
    absl::StatusOr<Identity> identity = parts_.access.Check(*context_, v1::UploadFileRequest());
    if (!identity.ok()) return Finish(ToGrpc(identity.status()));
    identity_ = *std::move(identity);
    const absl::Status entered = parts_.transfers.limit.Enter(this, identity_.token);
    if (!entered.ok()) return Finish(ToGrpc(entered));
    Read();
  }

  void OnReadDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      // Revoke has ended the call.
      if (!reading_) return;
      reading_ = false;
    }
    parts_.transfers.threads.Run([this, ok] { ok ? Take() : End(); });
  }
  void OnCancel() override { cancelled_ = true; }
  // A client that sends nothing would stay; its outstanding read ends with the call.
  void Revoke() override {
    absl::MutexLock lock(&mutex_);
    revoked_ = true;
    if (reading_) parts_.transfers.threads.Run([this] { Finish(ToGrpc(RevokedError())); });
    reading_ = false;
  }
  void Break() override { context_->TryCancel(); }
  void OnDone() override {
    parts_.transfers.limit.Leave(this);
    delete this;
  }

 private:
  void Read() {
    {
      absl::MutexLock lock(&mutex_);
      reading_ = !revoked_;
      if (reading_) return StartRead(&buffer_);
    }
    Finish(ToGrpc(RevokedError()));
  }

  void Take() {
    if (cancelled_) return Finish(grpc::Status::CANCELLED);
    if (parts_.transfers.draining) {
      return Finish(ToGrpc(
          absl::UnavailableError("the daemon is shutting down; continue when it has restarted")));
    }
    v1::UploadFileRequest message;
    if (!grpc::SerializationTraits<v1::UploadFileRequest>::Deserialize(&buffer_, &message).ok())
      return Finish(NotAMessage("/trainerd.v1.Files/UploadFile"));
    if (const absl::Status taken = TakeMessage(message); !taken.ok()) return Finish(ToGrpc(taken));
    if (received_ == size_) return parts_.hash_threads.Run([this] { Complete(); });
    Read();
  }

  absl::Status TakeMessage(const v1::UploadFileRequest& message) {
    if (sha256_.empty()) {
      const auto check = [this](const std::string& name, const std::string& owner) {
        return parts_.access.CheckUpload(identity_, name, owner);
      };
      ASSIGN_OR_RETURN(const v1::File file, parts_.files.Begin(message, identity_.caller, check));
      sha256_ = ToHex(message.sha256());
      size_ = file.size_bytes();
      received_ = file.received_bytes();
    } else if (!message.sha256().empty()) {
      return BadField("sha256", "is only for the first message of a call");
    }
    if (message.data().empty()) return absl::OkStatus();
    if (!last_note_.has_value() || SteadyNow() - *last_note_ > kNoteEvery) Note();
    RETURN_IF_ERROR(parts_.files.Append(sha256_, message));
    received_ = message.offset() + static_cast<int64_t>(message.data().size());
    return absl::OkStatus();
  }

  // The client has sent its last message, or has disconnected.
  void End() {
    if (last_note_.has_value()) Note();
    if (cancelled_) return Finish(grpc::Status::CANCELLED);
    if (sha256_.empty()) {
      return Finish(ToGrpc(BadField("sha256",
                                    "is missing: the call has no message; send the "
                                    "SHA-256 and the size of the file first")));
    }
    Reply(parts_.files.Find(sha256_));
  }

  void Complete() {
    Reply(parts_.files.Finish(sha256_,
                              [this] { return cancelled_ || parts_.transfers.draining.load(); }));
  }

  void Note() {
    last_note_ = SteadyNow();
    // Without the note the upload is kept for less than 24 h from now.
    parts_.files.NoteWrite(sha256_).IgnoreError();
  }

  void Reply(const absl::StatusOr<v1::File>& file) {
    if (!file.ok()) return Finish(ToGrpc(file.status()));
    bool own_buffer = false;
    Finish(grpc::SerializationTraits<v1::File>::Serialize(*file, response_, &own_buffer));
  }

  const UploadParts parts_;
  grpc::CallbackServerContext* const context_;
  Identity identity_ = {.caller = "", .role = v1::ROLE_UNSPECIFIED, .token = ""};
  grpc::ByteBuffer* const response_;
  grpc::ByteBuffer buffer_;
  // Of the first message; empty before it.
  std::string sha256_;
  int64_t size_ = 0;
  int64_t received_ = 0;
  std::optional<absl::Time> last_note_;
  std::atomic<bool> cancelled_{false};
  absl::Mutex mutex_;
  bool revoked_ ABSL_GUARDED_BY(mutex_) = false;
  // A read is outstanding; its end or Revoke, whichever is first, decides what follows.
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* StartUpload(UploadParts parts,
                                                       grpc::CallbackServerContext* context,
                                                       grpc::ByteBuffer* response) {
  auto* stream = new UploadStream(parts, context, response);
  stream->Begin();
  return stream;
}

}  // namespace trainerd::server
