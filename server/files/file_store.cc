// SPDX-License-Identifier: Apache-2.0
#include "server/files/file_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/crc32c.h"
#include "proto/base/fd.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "server/store/errors.h"
#include "server/store/rows/access/audit_rows.h"

namespace trainerd::server {
namespace {

constexpr size_t kSha256Bytes = 32;
constexpr size_t kMaxDisplayNameBytes = 1024;
constexpr size_t kReadBytes = 1 << 20;
constexpr absl::Duration kKeepIncomplete = absl::Hours(24);
constexpr absl::Duration kKeepUnused = absl::Hours(720);
constexpr absl::Duration kSpaceRetry = absl::Minutes(1);
constexpr char kPart[] = "/part";
constexpr char kData[] = "/data";
constexpr char kNames[] = "/as";

absl::Status CheckFirst(const v1::UploadFileRequest& first) {
  if (first.sha256().size() != kSha256Bytes) {
    return BadField("sha256", absl::StrCat("has ", first.sha256().size(),
                                           " bytes; send the 32 bytes of the file's SHA-256 in the "
                                           "first message"));
  }
  if (first.size_bytes() < 0) {
    return BadField("size_bytes",
                    absl::StrCat(first.size_bytes(), " is negative; send the size of the file"));
  }
  if (first.display_name().size() > kMaxDisplayNameBytes) {
    return BadField("display_name", absl::StrCat("has ", first.display_name().size(),
                                                 " bytes; the limit is ", kMaxDisplayNameBytes));
  }
  if (!HasControlCharacter(first.display_name())) return absl::OkStatus();
  return BadField("display_name", absl::StrCat(Quoted(first.display_name()),
                                               " holds a control character, a line separator or a "
                                               "direction control; send plain text"));
}

// 0 if there is no such file.
absl::StatusOr<int64_t> SizeOf(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0) return static_cast<int64_t>(info.st_size);
  if (errno == ENOENT) return 0;
  return ErrnoStatus(errno, "stat " + path);
}

absl::Status WriteAt(const std::string& path, int64_t offset, const std::string& data) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.is_open()) return ErrnoStatus(errno, "open " + path);
  if (::lseek(file.get(), offset, SEEK_SET) < 0) return ErrnoStatus(errno, "seek in " + path);
  return WriteAll(file.get(), data, path);
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path,
                                         const std::function<bool()>& is_cancelled) {
  ASSIGN_OR_RETURN(const Fd file, OpenRegularFile(path));
  std::string buffer(kReadBytes, '\0');
  Sha256Stream hash;
  while (true) {
    if (is_cancelled != nullptr && is_cancelled())
      return absl::CancelledError("the upload was cancelled before its hash was checked");
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read " + path);
    if (got == 0) return hash.Digest();
    hash.Update({buffer.data(), static_cast<size_t>(got)});
  }
}

absl::Status FullDisk(const absl::Status& status, const std::string& dir) {
  if (!absl::IsResourceExhausted(status)) return status;
  return WithRetry(WithReason(Annotate(status, "the upload in ", dir, " does not fit"), "DISK"),
                   kSpaceRetry);
}

}  // namespace

absl::Status NoSuchFile(const std::string& sha256) {
  return ErrorWithReason(
      absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
      absl::StrCat(UploadName(sha256),
                   " is not a complete upload of this daemon; `trainctl files` lists them, and "
                   "`trainctl submit --upload` sends the files of a job"));
}

std::string UploadLocation(const std::string& dir, const UploadPath& upload) {
  return absl::StrCat(dir, "/", upload.sha256_hex, kNames, "/", upload.file_name);
}

absl::Mutex& FileStore::LockOf(const std::string& sha256) {
  return locks_[std::hash<std::string>()(sha256) % locks_.size()];
}

std::string FileStore::FolderOf(const std::string& sha256) const {
  return absl::StrCat(options_.dir, "/", sha256);
}

absl::StatusOr<FileRow> FileStore::FindRow(const std::string& sha256) {
  ASSIGN_OR_RETURN(const std::optional<FileRow> row,
                   store_.Read([&](Connection& db) { return FindFile(db, sha256); }));
  if (!row.has_value()) return NoSuchFile(sha256);
  return *row;
}

absl::StatusOr<v1::File> FileStore::Find(const std::string& sha256) {
  ASSIGN_OR_RETURN(const FileRow row, FindRow(sha256));
  return Describe(row);
}

v1::File FileStore::Describe(const FileRow& row) const {
  v1::File file;
  file.set_name(UploadName(row.sha256));
  file.set_display_name(row.display_name);
  file.set_size_bytes(row.size_bytes);
  int64_t received = row.size_bytes;
  if (!row.complete) received = SizeOf(FolderOf(row.sha256) + kPart).value_or(0);
  file.set_received_bytes(received);
  file.set_owner(row.owner);
  *file.mutable_create_time() = ToProto(row.create_time);
  if (row.last_use_time.has_value()) *file.mutable_last_use_time() = ToProto(*row.last_use_time);
  return file;
}

absl::Status FileStore::CheckSpace(int64_t needed) const {
  const absl::StatusOr<int64_t> free = options_.free_bytes(options_.dir);
  if (!free.ok() || *free >= needed) return absl::OkStatus();
  return WithRetry(
      ErrorWithReason(absl::StatusCode::kResourceExhausted, "DISK",
                      absl::StrCat("the upload needs ", FormatBytes(needed), " in ", options_.dir,
                                   ", ", FormatBytes(*free), " are free; free some space")),
      kSpaceRetry);
}

// The caller holds the lock.
absl::Status FileStore::Create(const std::string& sha256, const v1::UploadFileRequest& first,
                               const Caller& caller) {
  RETURN_IF_ERROR(CheckSpace(first.size_bytes()));
  return store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t used, TotalFileBytes(t.db()));
    if (first.size_bytes() > options_.max_bytes - used) {
      return WithRetry(
          ErrorWithReason(
              absl::StatusCode::kResourceExhausted, "UPLOAD_SPACE",
              absl::StrCat("the upload has ", FormatBytes(first.size_bytes()), ", and ",
                           FormatBytes(used), " of ", FormatBytes(options_.max_bytes),
                           " are used, which is the limit (max_upload_bytes); remove uploads with "
                           "`trainctl files rm`")),
          kSpaceRetry);
    }
    RETURN_IF_ERROR(InsertFile(t.db(), {.sha256 = sha256,
                                        .size_bytes = first.size_bytes(),
                                        .display_name = first.display_name(),
                                        .owner = caller.principal,
                                        .create_time = t.now(),
                                        .last_use_time = std::nullopt,
                                        .write_time = t.steady_now()}));
    return StoreAudit(t.db(),
                      {.method = "UploadFile",
                       .resource = UploadName(sha256),
                       .principal = caller.principal,
                       .peer = caller.peer},
                      t.now());
  });
}

absl::StatusOr<v1::File> FileStore::Begin(const v1::UploadFileRequest& first, const Caller& caller,
                                          const CheckOwner& check) {
  RETURN_IF_ERROR(CheckFirst(first));
  const std::string sha256 = ToHex(first.sha256());
  absl::MutexLock lock(&LockOf(sha256));
  absl::StatusOr<FileRow> row = FindRow(sha256);
  if (absl::IsNotFound(row.status())) {
    RETURN_IF_ERROR(Create(sha256, first, caller));
    row = FindRow(sha256);
  }
  RETURN_IF_ERROR(row.status());
  // A complete one does not change any more.
  if (!row->complete) RETURN_IF_ERROR(check(UploadName(sha256), row->owner));
  if (row->size_bytes != first.size_bytes()) {
    return BadField("size_bytes",
                    absl::StrCat(first.size_bytes(), " is not the size of ", UploadName(sha256),
                                 ", which has ", row->size_bytes, " bytes"));
  }
  v1::File file = Describe(*row);
  if (!row->complete) {
    RETURN_IF_ERROR(MakeDirectories(FolderOf(sha256)));
    RETURN_IF_ERROR(CheckSpace(file.size_bytes() - file.received_bytes()));
  }
  return file;
}

absl::Status FileStore::Append(const std::string& sha256, const v1::UploadFileRequest& message) {
  const auto size = static_cast<int64_t>(message.data().size());
  if (size > kMaxUploadChunkBytes) {
    return BadField("data",
                    absl::StrCat("has ", size, " bytes; the limit is ", kMaxUploadChunkBytes));
  }
  if (Crc32c(message.data()) != message.crc32c()) {
    return BadField("crc32c", absl::StrCat("the bytes at offset ", message.offset(),
                                           " do not have this CRC-32C; send them again"));
  }
  absl::MutexLock lock(&LockOf(sha256));
  // The row is read for each chunk: the upload can be removed meanwhile.
  ASSIGN_OR_RETURN(const FileRow row, FindRow(sha256));
  const std::string path = FolderOf(sha256) + kPart;
  int64_t received = row.size_bytes;
  if (!row.complete) {
    ASSIGN_OR_RETURN(received, SizeOf(path));
  }
  if (message.offset() != received) {
    return ErrorWithReason(
        absl::StatusCode::kFailedPrecondition, "UPLOAD_OFFSET",
        absl::StrCat("offset ", message.offset(), " is not the end of the upload, which has ",
                     received, " bytes; continue there"),
        {{"received_bytes", absl::StrCat(received)}});
  }
  if (size > row.size_bytes - received) {
    return BadField("data", absl::StrCat("ends beyond the size of the file, ", row.size_bytes));
  }
  return FullDisk(WriteAt(path, received, message.data()), options_.dir);
}

absl::Status FileStore::NoteWrite(const std::string& sha256) {
  return store_.Change(
      [&](Transaction& t) { return SetFileWriteTime(t.db(), sha256, t.steady_now()); });
}

// The caller holds the lock.
absl::Status FileStore::Publish(const std::string& sha256) {
  const std::string folder = FolderOf(sha256);
  RETURN_IF_ERROR(FsyncPath(folder + kPart));
  RETURN_IF_ERROR(RenameDurable(folder + kPart, folder + kData));
  return store_.Change([&](Transaction& t) { return SetFileComplete(t.db(), sha256); });
}

absl::StatusOr<v1::File> FileStore::Finish(const std::string& sha256,
                                           const std::function<bool()>& is_cancelled) {
  ASSIGN_OR_RETURN(FileRow row, FindRow(sha256));
  if (row.complete) return Describe(row);
  if (row.size_bytes == 0) {
    absl::MutexLock lock(&LockOf(sha256));
    RETURN_IF_ERROR(FullDisk(WriteAt(FolderOf(sha256) + kPart, 0, ""), options_.dir));
  }
  // All bytes are there, so nobody changes them. Another call can finish at the same time.
  const absl::StatusOr<std::string> found = Sha256OfFile(FolderOf(sha256) + kPart, is_cancelled);
  absl::MutexLock lock(&LockOf(sha256));
  ASSIGN_OR_RETURN(row, FindRow(sha256));
  if (row.complete) return Describe(row);
  RETURN_IF_ERROR(found.status());
  if (ToHex(*found) != sha256) {
    RETURN_IF_ERROR(RemoveUpload(sha256));
    return WithReason(
        BadField("sha256", absl::StrCat("the ", row.size_bytes,
                                        " bytes that were received have "
                                        "the SHA-256 ",
                                        ToHex(*found), ", not ", sha256,
                                        "; the upload was removed, send the file again")),
        "HASH_MISMATCH");
  }
  RETURN_IF_ERROR(Publish(sha256));
  row.complete = true;
  return Describe(row);
}

// The caller holds the lock.
absl::Status FileStore::RemoveUpload(const std::string& sha256) {
  RETURN_IF_ERROR(store_.Change([&](Transaction& t) { return DeleteFileRow(t.db(), sha256); }));
  return RemoveAll(FolderOf(sha256));
}

absl::Status FileStore::Remove(const std::string& sha256,
                               const std::function<absl::StatusOr<bool>()>& delete_row) {
  absl::MutexLock lock(&LockOf(sha256));
  ASSIGN_OR_RETURN(const bool deleted, delete_row());
  return deleted ? RemoveAll(FolderOf(sha256)) : absl::OkStatus();
}

absl::Status FileStore::Link(const UploadPath& upload) {
  absl::MutexLock lock(&LockOf(upload.sha256_hex));
  ASSIGN_OR_RETURN(const FileRow row, FindRow(upload.sha256_hex));
  if (!row.complete) return NoSuchFile(upload.sha256_hex);
  const std::string path = UploadLocation(options_.dir, upload);
  if (NameExists(path)) return absl::OkStatus();
  RETURN_IF_ERROR(MakeDirectories(ParentOf(path)));
  if (::symlink(absl::StrCat("..", kData).c_str(), path.c_str()) != 0)
    return ErrnoStatus(errno, "create the link " + path);
  return FsyncPath(ParentOf(path));
}

absl::Status FileStore::Expire() {
  const absl::Time before = store_.SteadyNow() - kKeepIncomplete;
  ASSIGN_OR_RETURN(const std::vector<std::string> abandoned,
                   store_.Read([&](Connection& db) { return AbandonedFiles(db, before); }));
  for (const std::string& sha256 : abandoned) {
    absl::MutexLock lock(&LockOf(sha256));
    const absl::StatusOr<FileRow> row = FindRow(sha256);
    if (!row.ok() || row->complete || row->write_time >= before) continue;
    RETURN_IF_ERROR(RemoveUpload(sha256));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<FileStore::Collected>> FileStore::CollectUnused(
    bool dry_run, const std::function<absl::Status(Transaction&)>& record) {
  std::vector<FileRow> rows;
  RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(rows, ListFileRows(db, {.limit = std::numeric_limits<int>::max()}));
    return absl::OkStatus();
  }));
  std::vector<Collected> files;
  const absl::Time before = store_.Now() - kKeepUnused;
  for (const FileRow& row : rows) {
    // Expire removes the incomplete ones.
    if (!row.complete) continue;
    Collected& file = files.emplace_back(
        Collected{.name = UploadName(row.sha256), .bytes = row.size_bytes, .reason = "RETENTION"});
    const auto is_used = [&](Connection& db) { return UserOfFile(db, row.sha256); };
    ASSIGN_OR_RETURN(const std::optional<std::string> user, store_.Read(is_used));
    if (user.has_value()) file.reason = "IN_USE";
    if (user.has_value() || row.last_use_time.value_or(row.create_time) >= before) continue;
    file.reason = "UNUSED";
    file.removed = true;
    if (dry_run) continue;
    RETURN_IF_ERROR(Remove(row.sha256, [&]() -> absl::StatusOr<bool> {
      RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(const std::optional<std::string> late, is_used(t.db()));
        file.removed = !late.has_value();
        if (!file.removed) return absl::OkStatus();
        RETURN_IF_ERROR(record(t));
        return DeleteFileRow(t.db(), row.sha256);
      }));
      if (!file.removed) file.reason = "IN_USE";
      return file.removed;
    }));
  }
  return files;
}

absl::Status FileStore::Recover() {
  const absl::StatusOr<std::vector<std::string>> folders = ListDirectory(options_.dir);
  if (absl::IsNotFound(folders.status())) return absl::OkStatus();
  RETURN_IF_ERROR(folders.status());
  for (const std::string& sha256 : *folders) {
    if (!IsSha256Hex(sha256)) continue;
    const absl::StatusOr<FileRow> row = FindRow(sha256);
    const std::string folder = FolderOf(sha256);
    if (absl::IsNotFound(row.status())) {
      RETURN_IF_ERROR(RemoveAll(folder));
    } else if (row.ok() && !row->complete && PathExists(folder + kData)) {
      // Renamed, but not recorded: its hash was checked, and it is durable.
      RETURN_IF_ERROR(
          store_.Change([&](Transaction& t) { return SetFileComplete(t.db(), sha256); }));
    }
  }
  return absl::OkStatus();
}

}  // namespace trainerd::server
