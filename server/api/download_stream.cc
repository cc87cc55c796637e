// SPDX-License-Identifier: Apache-2.0
#include "server/api/download_stream.h"

#include <utility>

#include "server/api/status.h"

namespace trainerd::server {
namespace {

// One call. At any time exactly one of these happens: a write is outstanding, a task of the stream
// waits for a thread, or it runs.
class DownloadStream final : public grpc::ServerWriteReactor<v1::FileChunk>, public OpenCall {
 public:
  DownloadStream(TransferParts parts, CheckpointFiles& files, grpc::CallbackServerContext* context,
                 v1::DownloadCheckpointRequest request)
      : parts_(parts), files_(files), context_(context), request_(std::move(request)) {}

  void Begin(const std::string& token) {
    const absl::Status entered = parts_.limit.Enter(this, token);
    if (!entered.ok()) return Finish(ToGrpc(entered));
    parts_.threads.Run([this] { Open(); });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) cancelled_ = true;
    parts_.threads.Run([this] { Continue(); });
  }
  void OnCancel() override { cancelled_ = true; }
  void Revoke() override { revoked_ = true; }
  void Break() override { context_->TryCancel(); }
  void OnDone() override {
    parts_.limit.Leave(this);
    delete this;
  }

 private:
  void Open() {
    absl::StatusOr<CheckpointFiles::File> file = files_.Find(request_);
    if (!file.ok()) return Finish(ToGrpc(file.status()));
    file_ = *std::move(file);
    offset_ = request_.offset();
    Send();
  }
  void Continue() {
    offset_ += static_cast<int64_t>(chunk_.data().size());
    if (!cancelled_ && offset_ == file_.size_bytes) return Finish(grpc::Status::OK);
    Send();
  }
  void Send() {
    if (cancelled_) return Finish(grpc::Status::CANCELLED);
    if (revoked_) return Finish(ToGrpc(RevokedError()));
    if (parts_.draining) {
      return Finish(ToGrpc(
          absl::UnavailableError("the daemon is shutting down; continue when it has restarted")));
    }
    const absl::Status read = files_.Read(file_, offset_, &chunk_);
    if (!read.ok()) return Finish(ToGrpc(read));
    StartWrite(&chunk_);
  }

  const TransferParts parts_;
  CheckpointFiles& files_;
  grpc::CallbackServerContext* const context_;
  const v1::DownloadCheckpointRequest request_;
  CheckpointFiles::File file_;
  int64_t offset_ = 0;
  v1::FileChunk chunk_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> revoked_{false};
};

}  // namespace

grpc::ServerWriteReactor<v1::FileChunk>* StartDownload(TransferParts parts, CheckpointFiles& files,
                                                       grpc::CallbackServerContext* context,
                                                       const v1::DownloadCheckpointRequest& request,
                                                       const std::string& token) {
  auto* stream = new DownloadStream(parts, files, context, request);
  stream->Begin(token);
  return stream;
}

}  // namespace trainerd::server
