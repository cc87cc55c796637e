// SPDX-License-Identifier: Apache-2.0
#include "server/store/state_dir.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kRetry = absl::Milliseconds(20);
// The same word as in earlier versions: a daemon may wait for one of those.
constexpr char kShuttingDown[] = " leaving";

absl::Status WriteHolder(int fd, const std::string& text, const std::string& path) {
  if (::ftruncate(fd, 0) != 0 ||
      ::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(errno == 0 ? ENOSPC : errno, absl::StrCat("write ", path));
  }
  return absl::OkStatus();
}

std::string ReadHolder(int fd) {
  char buffer[64];
  const ssize_t size = ::pread(fd, buffer, sizeof buffer, 0);
  std::string text(buffer, size > 0 ? static_cast<size_t>(size) : 0);
  absl::StripAsciiWhitespace(&text);
  return text;
}

absl::Status HeldBy(const std::string& path, const std::string& holder) {
  return absl::FailedPreconditionError(
      absl::StrCat("the state directory ", path, " is in use by another trainerd (pid ",
                   holder.empty() ? "unknown" : holder,
                   "). Stop that trainerd, or use another directory with --state-dir"));
}

std::string UserName(uid_t uid) {
  char buffer[4096];
  passwd entry;
  passwd* found = nullptr;
  const bool known = ::getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found;
  return known ? absl::StrCat(found->pw_name, " (uid ", uid, ")") : absl::StrCat("uid ", uid);
}

// The owner of the folder can replace every file in it, the token included.
absl::Status CheckOwner(int folder_fd, const std::string& path) {
  struct stat info;
  if (::fstat(folder_fd, &info) != 0) return ErrnoStatus(errno, absl::StrCat("read ", path));
  if (info.st_uid == ::geteuid()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the state directory ", path, " is owned by ", UserName(info.st_uid),
                   ", and trainerd runs as ", UserName(::geteuid()),
                   ". Run trainerd as its owner, or use another directory with --state-dir"));
}

// A killed daemon's lock is still held for a moment by a child between fork and exec. The holder
// has exited, so the lock is released soon.
bool HasExited(const std::string& holder) {
  pid_t pid = 0;
  return absl::SimpleAtoi(holder, &pid) && pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH;
}

absl::Status LockWithPatience(int fd, const std::string& path, absl::Duration patience) {
  const absl::Time deadline = SteadyNow() + patience;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return ErrnoStatus(errno, absl::StrCat("lock ", path));
    }
    const std::string holder = ReadHolder(fd);
    const bool ends = absl::EndsWith(holder, kShuttingDown) || HasExited(holder);
    if (!ends || SteadyNow() > deadline) return HeldBy(path, holder);
    absl::SleepFor(kRetry);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateDir>> StateDir::Lock(const std::string& path,
                                                         absl::Duration patience) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return ErrnoStatus(error.value(), absl::StrCat("create the state directory ", path));
  }
  const int folder_fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd < 0) return ErrnoStatus(errno, absl::StrCat("open the state directory ", path));
  if (const absl::Status owned = CheckOwner(folder_fd, path); !owned.ok()) {
    ::close(folder_fd);
    return owned;
  }
  const int lock_fd = ::openat(folder_fd, "trainerd.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd < 0) {
    const int code = errno;
    ::close(folder_fd);
    return ErrnoStatus(code, absl::StrCat("write to the state directory ", path));
  }
  std::unique_ptr<StateDir> result(new StateDir(path, folder_fd, lock_fd));
  RETURN_IF_ERROR(LockWithPatience(lock_fd, path, patience));
  if (::fchmod(folder_fd, 0700) != 0) {
    return ErrnoStatus(errno, absl::StrCat("set mode 0700 of ", path));
  }
  RETURN_IF_ERROR(WriteHolder(lock_fd, absl::StrCat(::getpid(), "\n"), path));
  std::filesystem::create_directories(result->runs_dir(), error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("create ", result->runs_dir()));
  return result;
}

StateDir::~StateDir() {
  ::close(lock_fd_);
  ::close(folder_fd_);
}

void StateDir::AnnounceShutdown() {
  // If this fails, a successor refuses to start instead of waiting.
  WriteHolder(lock_fd_, absl::StrCat(::getpid(), kShuttingDown, "\n"), path_).IgnoreError();
}

}  // namespace trainerd::server
