// SPDX-License-Identifier: Apache-2.0
#include "proto/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

// A crashed process may have left a temporary file under a pid that is ours today.
constexpr int kTemporaryNameTries = 100;
// Leaves room for the suffix within NAME_MAX (255).
constexpr size_t kTemporaryBaseBytes = 200;

absl::StatusCode CodeOfErrno(int error) {
  switch (error) {
    case ENOENT:
    case ESRCH:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::StatusCode::kResourceExhausted;
    case EINVAL:
    case ENAMETOOLONG:
      return absl::StatusCode::kInvalidArgument;
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case ELOOP:
    case EXDEV:
      return absl::StatusCode::kFailedPrecondition;
    case EAGAIN:
    case EBUSY:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return absl::StatusCode::kUnavailable;
    case ETIMEDOUT:
      return absl::StatusCode::kDeadlineExceeded;
    case EIO:
      return absl::StatusCode::kDataLoss;
    default:
      return absl::StatusCode::kInternal;
  }
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

absl::Status WriteAll(int fd, std::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t written = write(fd, contents.data(), contents.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "write " + path);
    contents.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// Opens a new file beside `path`; sets *temporary to its name.
absl::StatusOr<int> OpenTemporary(const std::string& path, int mode, std::string* temporary) {
  static std::atomic<uint64_t> counter{0};
  for (int tries = 0; tries < kTemporaryNameTries; ++tries) {
    *temporary =
        absl::StrCat(ParentOf(path), "/.", NameOf(path).substr(0, kTemporaryBaseBytes), ".tmp-",
                     getpid(), "-", counter.fetch_add(1, std::memory_order_relaxed));
    const int fd =
        open(temporary->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd >= 0) return fd;
    if (errno != EEXIST && errno != EINTR)
      return ErrnoStatus(errno, "create a file beside " + path);
  }
  return absl::AlreadyExistsError(absl::StrCat("create a file beside ", path, ": ",
                                               kTemporaryNameTries,
                                               " names are taken; remove the old ", *temporary));
}

absl::Status WriteAndSync(int fd, std::string_view contents, const std::string& path) {
  absl::Status status = WriteAll(fd, contents, path);
  if (status.ok() && fsync(fd) != 0) status = ErrnoStatus(errno, "fsync " + path);
  // close reports what some network file systems only find out then.
  if (close(fd) != 0 && status.ok() && errno != EINTR) status = ErrnoStatus(errno, "close " + path);
  return status;
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view what) {
  return absl::Status(CodeOfErrno(error), absl::StrCat(std::string(what), ": ",
                                                       std::generic_category().message(error)));
}

absl::Status WriteFileAtomic(const std::string& path, std::string_view contents, int mode) {
  if (path.empty() || path.back() == '/')
    return absl::InvalidArgumentError(absl::StrCat("write: \"", path, "\" is not a file's path"));
  std::string temporary;
  ASSIGN_OR_RETURN(const int fd, OpenTemporary(path, mode, &temporary));
  absl::Status status = WriteAndSync(fd, contents, path);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0)
    status = ErrnoStatus(errno, "rename to " + path);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return FsyncPath(ParentOf(path));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open " + path);
  std::string contents;
  struct stat info;
  // The size is a hint only: files of /proc say 0.
  if (fstat(fd, &info) == 0 && info.st_size > 0)
    contents.reserve(static_cast<size_t>(info.st_size) + 1);
  char buffer[64 << 10];
  while (true) {
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      close(fd);
      return ErrnoStatus(error, "read " + path);
    }
    contents.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  return contents;
}

absl::Status FsyncPath(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open " + path);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : ErrnoStatus(error, "fsync " + path);
}

absl::Status RenameDurable(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0)
    return ErrnoStatus(errno, absl::StrCat("rename ", from, " to ", to));
  RETURN_IF_ERROR(FsyncPath(ParentOf(to)));
  if (ParentOf(from) == ParentOf(to)) return absl::OkStatus();
  return FsyncPath(ParentOf(from));
}

}  // namespace trainerd
