// SPDX-License-Identifier: Apache-2.0
#include "proto/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/fd.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

// A temporary file of a crashed process may have the name of one of ours: pids are reused.
constexpr int kTemporaryNameTries = 100;
// The name and its suffix must fit NAME_MAX (255).
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

std::string NameOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// Creates a file beside `path`; *temporary is its path.
absl::StatusOr<Fd> OpenTemporary(const std::string& path, int mode, std::string* temporary) {
  static std::atomic<uint64_t> counter{0};
  for (int tries = 0; tries < kTemporaryNameTries; ++tries) {
    *temporary =
        absl::StrCat(ParentOf(path), "/.", NameOf(path).substr(0, kTemporaryBaseBytes), ".tmp-",
                     getpid(), "-", counter.fetch_add(1, std::memory_order_relaxed));
    Fd fd(open(temporary->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (fd.is_open()) return fd;
    if (errno != EEXIST && errno != EINTR)
      return ErrnoStatus(errno, "create a file beside " + path);
  }
  return absl::AlreadyExistsError(absl::StrCat("create a file beside ", path, ": ",
                                               kTemporaryNameTries,
                                               " names are taken; remove the old ", *temporary));
}

absl::Status RequireRegular(mode_t mode, const std::string& path) {
  const std::string kind = SpecialFileKind(mode);
  if (kind.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("open ", path, ": it is ", kind, ", not a regular file"));
}

// Whether the file is to survive a power cut.
enum class Durability { kDurable, kNone };

absl::Status WriteAndClose(Fd fd, std::string_view contents, const std::string& path,
                           Durability durability) {
  RETURN_IF_ERROR(WriteAll(fd.get(), contents, path));
  if (durability == Durability::kDurable && fsync(fd.get()) != 0)
    return ErrnoStatus(errno, "fsync " + path);
  // Some network file systems report write errors only on close.
  if (close(fd.Release()) != 0 && errno != EINTR) return ErrnoStatus(errno, "close " + path);
  return absl::OkStatus();
}

absl::Status Replace(const std::string& path, std::string_view contents, int mode,
                     Durability durability) {
  if (path.empty() || path.back() == '/')
    return absl::InvalidArgumentError(
        absl::StrCat("write: \"", path, "\" is not the path of a file"));
  std::string temporary;
  ASSIGN_OR_RETURN(Fd fd, OpenTemporary(path, mode, &temporary));
  absl::Status status = WriteAndClose(std::move(fd), contents, path, durability);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0)
    status = ErrnoStatus(errno, "rename to " + path);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return durability == Durability::kDurable ? FsyncPath(ParentOf(path)) : absl::OkStatus();
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view what) {
  return absl::Status(CodeOfErrno(error), absl::StrCat(std::string(what), ": ",
                                                       std::generic_category().message(error)));
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
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

absl::Status WriteFileAtomic(const std::string& path, std::string_view contents, int mode) {
  return Replace(path, contents, mode, Durability::kDurable);
}

absl::Status ReplaceFile(const std::string& path, std::string_view contents, int mode) {
  return Replace(path, contents, mode, Durability::kNone);
}

std::string SpecialFileKind(mode_t mode) {
  if (S_ISREG(mode)) return "";
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

absl::StatusOr<Fd> OpenRegularFile(const std::string& path) {
  // The first look is for devices, some of which act when they are opened.
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "open " + path);
  RETURN_IF_ERROR(RequireRegular(info.st_mode, path));
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.is_open()) return ErrnoStatus(errno, "open " + path);
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, "open " + path);
  RETURN_IF_ERROR(RequireRegular(info.st_mode, path));
  return fd;
}

absl::StatusOr<std::string> ReadToEnd(const Fd& fd, const std::string& path) {
  std::string contents;
  struct stat info;
  // The size is only a hint: it is 0 for files in /proc.
  if (fstat(fd.get(), &info) == 0 && info.st_size > 0)
    contents.reserve(static_cast<size_t>(info.st_size) + 1);
  char buffer[64 << 10];
  while (true) {
    const ssize_t got = read(fd.get(), buffer, sizeof(buffer));
    if (got == 0) return contents;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read " + path);
    contents.append(buffer, static_cast<size_t>(got));
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(const Fd fd, OpenRegularFile(path));
  return ReadToEnd(fd, path);
}

absl::StatusOr<std::string> ReadStream(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return ErrnoStatus(errno, "open " + path);
  return ReadToEnd(fd, path);
}

absl::Status FsyncPath(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return ErrnoStatus(errno, "open " + path);
  return fsync(fd.get()) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "fsync " + path);
}

absl::Status RenameDurable(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0)
    return ErrnoStatus(errno, absl::StrCat("rename ", from, " to ", to));
  RETURN_IF_ERROR(FsyncPath(ParentOf(to)));
  if (ParentOf(from) == ParentOf(to)) return absl::OkStatus();
  return FsyncPath(ParentOf(from));
}

}  // namespace trainerd
