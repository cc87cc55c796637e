// SPDX-License-Identifier: Apache-2.0
#include "client/transfer/file_upload.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/net/status_details.h"
#include "client/transfer/retry.h"
#include "proto/base/atomic_file.h"
#include "proto/base/crc32c.h"
#include "proto/base/fd.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {
namespace {

// The limit of the daemon.
constexpr int64_t kChunkBytes = int64_t{1} << 20;

class Upload {
 public:
  Upload(Connection& connection, const UploadOptions& options)
      : connection_(connection), options_(options), retry_(connection, nullptr) {}

  absl::StatusOr<v1::File> Run() {
    RETURN_IF_ERROR(Open());
    bool repeated = false;
    while (true) {
      absl::StatusOr<v1::File> file = Send();
      if (file.ok() && file->received_bytes() == size_) return file;
      // What the daemon kept of an earlier upload can be damaged, for example by a power cut.
      if (Reason(file.status()) == "HASH_MISMATCH") {
        if (std::exchange(repeated, true)) return Changed();
        continue;
      }
      // Another client sends the same file.
      if (Reason(file.status()) == "UPLOAD_OFFSET") continue;
      RETURN_IF_ERROR(retry_.Continue(file.ok() ? absl::UnavailableError(absl::StrCat(
                                                      options_.path, " was not sent completely"))
                                                : file.status()));
    }
  }

 private:
  absl::Status Open() {
    ASSIGN_OR_RETURN(file_, OpenRegularFile(options_.path));
    struct stat info;
    if (::fstat(file_.get(), &info) != 0) return ErrnoStatus(errno, "stat " + options_.path);
    size_ = info.st_size;
    Sha256Stream hash;
    std::string data;
    for (int64_t at = 0; at < size_; at += static_cast<int64_t>(data.size())) {
      RETURN_IF_ERROR(ReadAt(at, &data));
      hash.Update(data);
    }
    sha256_ = hash.Digest();
    return absl::OkStatus();
  }

  // One call to learn what the daemon has, and one for the rest.
  absl::StatusOr<v1::File> Send() {
    bool first = true;
    ASSIGN_OR_RETURN(const v1::File known,
                     connection_.UploadFile([&](v1::UploadFileRequest* message) {
                       Describe(message);
                       return absl::StatusOr<bool>(std::exchange(first, false));
                     }));
    int64_t at = known.received_bytes();
    if (at == size_) return known;
    first = true;
    return connection_.UploadFile([&](v1::UploadFileRequest* message) -> absl::StatusOr<bool> {
      if (at >= size_) return false;
      if (std::exchange(first, false)) Describe(message);
      RETURN_IF_ERROR(ReadAt(at, message->mutable_data()));
      message->set_offset(at);
      message->set_crc32c(Crc32c(message->data()));
      at += static_cast<int64_t>(message->data().size());
      retry_.Progressed();
      if (options_.on_progress != nullptr) options_.on_progress(at, size_);
      return true;
    });
  }

  void Describe(v1::UploadFileRequest* message) const {
    message->set_sha256(sha256_);
    message->set_size_bytes(size_);
    message->set_display_name(options_.path.substr(options_.path.rfind('/') + 1));
  }

  absl::Status ReadAt(int64_t offset, std::string* data) const {
    data->resize(static_cast<size_t>(std::min(kChunkBytes, size_ - offset)));
    size_t filled = 0;
    while (filled < data->size()) {
      const ssize_t got = ::pread(file_.get(), data->data() + filled, data->size() - filled,
                                  offset + static_cast<int64_t>(filled));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoStatus(errno, "read " + options_.path);
      if (got == 0) return Changed();
      filled += static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }

  absl::Status Changed() const {
    return absl::FailedPreconditionError(
        absl::StrCat(options_.path, " changed while it was sent; send it again"));
  }

  Connection& connection_;
  const UploadOptions& options_;
  TransferRetry retry_;
  Fd file_;
  int64_t size_ = 0;
  std::string sha256_;
};

}  // namespace

absl::StatusOr<v1::File> SendFile(Connection& connection, const UploadOptions& options) {
  return Upload(connection, options).Run();
}

}  // namespace trainerd::client
