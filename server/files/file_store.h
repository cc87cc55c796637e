// SPDX-License-Identifier: Apache-2.0
// The uploads of clients, addressed by the SHA-256 of their contents: rows in the database, bytes
// in <state dir>/files/SHA256. An incomplete upload is `part` and has the bytes that were received.
// It becomes `data` once its hash was checked and it is durable. A job sees it under the name that
// it uses: as/NAME is a link to `data`.
//
// The row is written before the folder, and deleted before it: Recover removes folders without a
// row.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/directory.h"
#include "proto/contract/config/upload_path.h"
#include "server/store/caller.h"
#include "server/store/rows/file_rows.h"
#include "server/store/store.h"
#include "trainerd/v1/file.pb.h"

namespace trainerd::server {

// Of UploadFileRequest.data.
inline constexpr int64_t kMaxUploadChunkBytes = int64_t{1} << 20;

// Thread-safety: all methods may be called from any thread. They read and write the disk.
class FileStore {
 public:
  struct Options {
    // Absolute; created when it is needed.
    std::string dir;
    // Of all uploads together.
    int64_t max_bytes = 0;
    // Free bytes of the file system that holds a path.
    std::function<absl::StatusOr<int64_t>(const std::string&)> free_bytes = FreeBytes;
  };
  // `store` outlives this.
  FileStore(Options options, Store& store) : options_(std::move(options)), store_(store) {}

  const std::string& dir() const { return options_.dir; }

  // Whether the caller may continue an incomplete upload (its name) of this owner.
  using CheckOwner = std::function<absl::Status(const std::string& name, const std::string& owner)>;
  // The upload that the first message of a call names; it is created if it does not exist, and
  // belongs to the caller. Of several callers that send the first message at once, one creates it.
  // Errors: InvalidArgument; ResourceExhausted with reason UPLOAD_SPACE or DISK; of `check`.
  absl::StatusOr<v1::File> Begin(const v1::UploadFileRequest& first, const Caller& caller,
                                 const CheckOwner& check);
  // Appends the data of one message. Errors: InvalidArgument (checksum, size),
  // FailedPrecondition with reason UPLOAD_OFFSET; NotFound if the upload was removed meanwhile;
  // ResourceExhausted with reason DISK.
  absl::Status Append(const std::string& sha256, const v1::UploadFileRequest& message);
  // Completes an upload of which every byte was received: reads it back, and makes it durable.
  // Does nothing for a complete one. Errors: InvalidArgument with reason HASH_MISMATCH, and the
  // upload is removed; Cancelled when `is_cancelled` returns true.
  absl::StatusOr<v1::File> Finish(const std::string& sha256,
                                  const std::function<bool()>& is_cancelled);
  // Notes that bytes arrive: the upload is kept for another 24 h.
  absl::Status NoteWrite(const std::string& sha256);

  // The File of a row.
  v1::File Describe(const FileRow& row) const;
  // Errors: NotFound with reason FILE_NOT_FOUND.
  absl::StatusOr<v1::File> Find(const std::string& sha256);
  // Removes the bytes of a file whose row `remove` has deleted (it returns true then).
  absl::Status Remove(const std::string& sha256,
                      const std::function<absl::StatusOr<bool>()>& delete_row);

  // Makes the path of a complete file, UploadLocation, durably. Errors: NotFound with reason
  // FILE_NOT_FOUND.
  absl::Status Link(const UploadPath& upload);

  // Removes incomplete uploads without a new byte for 24 h.
  absl::Status Expire();
  // An upload that CollectUnused removed (or would remove), or kept.
  struct Collected {
    std::string name;
    int64_t bytes = 0;
    bool removed = false;
    // UNUSED; or IN_USE: a job that is not terminal names it; RETENTION: one did within 720 h, or
    // it is younger.
    std::string reason;
  };
  // Removes the uploads that no job has named for 720 h. With `dry_run` it removes nothing.
  // `record` is called in each transaction that removes one.
  absl::StatusOr<std::vector<Collected>> CollectUnused(
      bool dry_run, const std::function<absl::Status(Transaction&)>& record);
  // Removes what a crash left. Call it before the first upload.
  absl::Status Recover();

 private:
  // Serializes the changes of one file.
  absl::Mutex& LockOf(const std::string& sha256);
  std::string FolderOf(const std::string& sha256) const;
  absl::Status CheckSpace(int64_t needed) const;
  absl::Status Create(const std::string& sha256, const v1::UploadFileRequest& first,
                      const Caller& caller);
  absl::StatusOr<FileRow> FindRow(const std::string& sha256);
  absl::Status Publish(const std::string& sha256);
  absl::Status RemoveUpload(const std::string& sha256);

  const Options options_;
  Store& store_;
  std::array<absl::Mutex, 16> locks_;
};

// Where a worker reads an upload under the name that its job uses; `dir`: FileStore::Options::dir.
std::string UploadLocation(const std::string& dir, const UploadPath& upload);

// Errors: NotFound with reason FILE_NOT_FOUND.
absl::Status NoSuchFile(const std::string& sha256);

}  // namespace trainerd::server
