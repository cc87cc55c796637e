// SPDX-License-Identifier: Apache-2.0
// A library for LD_PRELOAD that stands between a program and its disk, for all files below the
// folder $TRAINERD_DISK_ROOT:
//
// - It records each call that changes a file or a folder in the file $TRAINERD_DISK_LOG, in the
//   order in which the calls happened over all programs that share the log. The format is read by
//   tests/integration/disk_states.py. A call and its record are one step under a lock, so that
//   the order of the log is the order on the disk. fsync records how long the log was before it
//   began: what another thread wrote meanwhile may or may not be durable.
// - fsync and fdatasync return without syncing: the test's disk is what was recorded.
// - One call fails or kills its process, if the file $TRAINERD_DISK_FAULT exists. It holds
//   "PROGRAM CALL N ACTION PATH": the N-th CALL of the process PROGRAM whose path contains PATH;
//   ACTION is an errno, 0 = SIGKILL before the call, or -1 = SIGKILL after it. The file is removed
//   when that happens.
// - A restart of the machine: boot ids are read from the file $TRAINERD_DISK_BOOT_ID.
//
// Writes through a mapping are not recorded: SQLite's index of the write-ahead log, which does not
// survive a power cut.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view kBootIdPath = "/proc/sys/kernel/random/boot_id";

const char* Setting(const char* name) {
  const char* value = getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

bool IsBelowRoot(std::string_view path) {
  static const char* const root = Setting("TRAINERD_DISK_ROOT");
  if (root == nullptr) return false;
  const std::string_view folder = root;
  return path.size() > folder.size() && path.substr(0, folder.size()) == folder &&
         path[folder.size()] == '/';
}

std::string LinkTarget(const std::string& link) {
  char target[4096];
  const ssize_t size = readlink(link.c_str(), target, sizeof(target));
  return std::string(target, size > 0 ? static_cast<size_t>(size) : 0);
}

// The path of an open file; "" if it is not of interest.
std::string PathOf(int fd) {
  const std::string path = LinkTarget("/proc/self/fd/" + std::to_string(fd));
  return IsBelowRoot(path + "/") || IsBelowRoot(path) ? path : "";
}

// The absolute path of a name in a folder, with the folder's own links resolved; "" if it is not of
// interest.
std::string PathAt(int folder, const char* name) {
  if (name == nullptr) return "";
  std::string path = name;
  if (path.empty()) return "";
  if (path[0] != '/') {
    path = LinkTarget(folder == AT_FDCWD ? "/proc/self/cwd"
                                         : "/proc/self/fd/" + std::to_string(folder)) +
           "/" + path;
  }
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  // /proc/self/fd/N/… is how long paths of sockets are shortened.
  constexpr std::string_view kFds = "/proc/self/fd/";
  if (path.rfind(kFds, 0) == 0) {
    const size_t slash = path.find('/', kFds.size());
    if (slash == std::string::npos) return "";
    path = LinkTarget(path.substr(0, slash)) + path.substr(slash);
  }
  return IsBelowRoot(path) ? path : "";
}

// ---------------------------------------------------------------- the log
struct Record {
  char kind;  // of disk_states.py
  uint64_t node = 0;
  int64_t offset = 0;
  std::string_view path = {}, other = {}, data = {};
};

class Log {
 public:
  Log() {
    static const char* const path = Setting("TRAINERD_DISK_LOG");
    if (path == nullptr) return;
    fd_ = static_cast<int>(
        syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (fd_ >= 0) flock(fd_, LOCK_EX);
  }
  ~Log() {
    if (fd_ < 0) return;
    const int error = errno;
    syscall(SYS_close, fd_);
    errno = error;
  }
  Log(const Log&) = delete;
  int64_t size() const { return fd_ < 0 ? 0 : lseek(fd_, 0, SEEK_END); }
  void Append(const Record& record) const {
    if (fd_ < 0) return;
    const int error = errno;
    std::string bytes;
    const auto put = [&](const auto& value) {
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    };
    put(static_cast<uint32_t>(record.data.size()));
    put(static_cast<uint16_t>(record.path.size()));
    put(static_cast<uint16_t>(record.other.size()));
    put(record.kind);
    put(record.node);
    put(record.offset);
    bytes.append(record.path).append(record.other).append(record.data);
    if (syscall(SYS_write, fd_, bytes.data(), bytes.size()) != static_cast<long>(bytes.size())) {
      constexpr std::string_view kMessage = "disk_calls: the log cannot be written\n";
      syscall(SYS_write, 2, kMessage.data(), kMessage.size());
      abort();
    }
    errno = error;
  }

 private:
  int fd_ = -1;
};

uint64_t NodeOf(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 ? info.st_ino : 0;
}

uint64_t NodeOf(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

// ---------------------------------------------------------------- faults
void Die() {
  kill(getpid(), SIGKILL);
  while (true) pause();
}

// Stands around each call. The call must not happen if error() is not 0.
class Call {
 public:
  Call(const char* name, const std::string& path) {
    if (path.empty()) return;
    static const char* const file = Setting("TRAINERD_DISK_FAULT");
    if (file == nullptr) return;
    const int saved = errno;
    Match(file, name, path);
    errno = saved;
  }
  ~Call() {
    if (dies_) Die();
  }
  Call(const Call&) = delete;
  int error() const { return error_; }
  long Fail() const {
    errno = error_;
    return -1;
  }

 private:
  void Match(const char* file, const char* name, const std::string& path) {
    const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC));
    if (fd < 0) return;
    char text[1024];
    const long size = syscall(SYS_read, fd, text, sizeof(text) - 1);
    syscall(SYS_close, fd);
    if (size <= 0) return;
    text[size] = '\0';
    char program[64], call[64], part[512];
    int number = 0, action = 0;
    if (sscanf(text, "%63s %63s %d %d %511s", program, call, &number, &action, part) != 5) return;
    if (strcmp(program, program_invocation_short_name) != 0 || strcmp(call, name) != 0) return;
    if (path.find(part) == std::string::npos) return;
    static std::mutex mutex;
    static std::string counted;  // the fault whose calls `seen` counts
    static int seen = 0;
    const std::lock_guard lock(mutex);
    if (counted != text) seen = 0;
    counted = text;
    if (++seen != number) return;
    if (syscall(SYS_unlinkat, AT_FDCWD, file, 0) != 0) return;
    if (action == 0) Die();
    if (action < 0) dies_ = true;
    if (action > 0) error_ = action;
  }

  int error_ = 0;
  bool dies_ = false;
};

// ---------------------------------------------------------------- calls
long WriteAt(int fd, const void* data, size_t size, int64_t offset) {
  return offset < 0 ? syscall(SYS_write, fd, data, size)
                    : syscall(SYS_pwrite64, fd, data, size, offset);
}

// offset < 0: at the position of the file, or at its end.
ssize_t Write(int fd, const void* data, size_t size, int64_t offset) {
  const std::string path = PathOf(fd);
  if (path.empty()) return WriteAt(fd, data, size, offset);
  const Call call("write", path);
  if (call.error() != 0) return call.Fail();
  const Log log;
  const long written = WriteAt(fd, data, size, offset);
  if (written > 0) {
    const int64_t begin = offset < 0 ? lseek(fd, 0, SEEK_CUR) - written : offset;
    log.Append({.kind = 'w',
                .node = NodeOf(fd),
                .offset = begin,
                .path = path,
                .data = {static_cast<const char*>(data), static_cast<size_t>(written)}});
  }
  return written;
}

int Truncate(int fd, int64_t size) {
  const std::string path = PathOf(fd);
  const Call call("truncate", path);
  if (call.error() != 0) return static_cast<int>(call.Fail());
  if (path.empty()) return static_cast<int>(syscall(SYS_ftruncate, fd, size));
  const Log log;
  const long result = syscall(SYS_ftruncate, fd, size);
  if (result == 0) log.Append({.kind = 't', .node = NodeOf(fd), .offset = size, .path = path});
  return static_cast<int>(result);
}

int Sync(int fd, long number) {
  const std::string path = PathOf(fd);
  const Call call("fsync", path);
  if (call.error() != 0) return static_cast<int>(call.Fail());
  if (path.empty()) return static_cast<int>(syscall(number, fd));
  const int64_t begin = Log().size();
  Log().Append({.kind = 's', .node = NodeOf(fd), .offset = begin, .path = path});
  return 0;
}

int Open(int folder, const char* name, int flags, mode_t mode) {
  if (name == kBootIdPath) {
    static const char* const other = Setting("TRAINERD_DISK_BOOT_ID");
    if (other != nullptr) name = other;
  }
  const auto open = [&] {
    return static_cast<int>(syscall(SYS_openat, folder, name, flags | O_LARGEFILE, mode));
  };
  const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0 && (flags & O_TMPFILE) != O_TMPFILE;
  const std::string path = changes ? PathAt(folder, name) : "";
  if (path.empty()) return open();
  const Call call("open", path);
  if (call.error() != 0) return static_cast<int>(call.Fail());
  const Log log;
  const uint64_t before = NodeOf(path);
  const int fd = open();
  if (fd < 0) return fd;
  const uint64_t node = NodeOf(fd);
  if (before == 0) log.Append({.kind = 'c', .node = node, .path = path});
  if (before != 0 && (flags & O_TRUNC) != 0) log.Append({.kind = 't', .node = node, .path = path});
  return fd;
}

int Rename(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  const auto rename = [&] {
    return static_cast<int>(syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
  };
  const std::string path = PathAt(from_folder, from), target = PathAt(to_folder, to);
  if (path.empty() || target.empty()) return rename();
  const Call call("rename", target);
  if (call.error() != 0) return static_cast<int>(call.Fail());
  const Log log;
  const uint64_t node = NodeOf(path);
  const int result = rename();
  if (result == 0) log.Append({.kind = 'r', .node = node, .path = path, .other = target});
  return result;
}

int Link(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  const std::string target = PathAt(to_folder, to);
  const Call call("link", target);
  if (call.error() != 0) return static_cast<int>(call.Fail());
  const Log log;
  const auto result =
      static_cast<int>(syscall(SYS_linkat, from_folder, from, to_folder, to, flags));
  if (result == 0 && !target.empty())
    log.Append({.kind = 'l', .node = NodeOf(target), .path = target});
  return result;
}

int Unlink(int folder, const char* name, int flags) {
  const std::string path = PathAt(folder, name);
  const Call call("unlink", path);
  if (call.error() != 0) return static_cast<int>(call.Fail());
  if (path.empty()) return static_cast<int>(syscall(SYS_unlinkat, folder, name, flags));
  const Log log;
  const auto result = static_cast<int>(syscall(SYS_unlinkat, folder, name, flags));
  if (result == 0) log.Append({.kind = 'u', .path = path});
  return result;
}

int MakeFolder(int folder, const char* name, mode_t mode) {
  const std::string path = PathAt(folder, name);
  const Call call("mkdir", path);
  if (call.error() != 0) return static_cast<int>(call.Fail());
  const Log log;
  const auto result = static_cast<int>(syscall(SYS_mkdirat, folder, name, mode));
  if (result == 0 && !path.empty()) log.Append({.kind = 'd', .node = NodeOf(path), .path = path});
  return result;
}

mode_t ModeOf(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

FILE* OpenFile(const char* real, const char* path, const char* mode) {
  // The creation goes through Open; the library's own call then finds the file.
  if (mode[0] != 'r' && !PathAt(AT_FDCWD, path).empty()) {
    const int fd =
        Open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC | (mode[0] == 'w' ? O_TRUNC : 0), 0666);
    if (fd < 0) return nullptr;
    syscall(SYS_close, fd);
  }
  using Function = FILE* (*)(const char*, const char*);
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, real))(path, mode);
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open(folder, path, flags, mode);
}
int openat64(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open(folder, path, flags, mode);
}
FILE* fopen(const char* path, const char* mode) { return OpenFile("fopen", path, mode); }
FILE* fopen64(const char* path, const char* mode) { return OpenFile("fopen64", path, mode); }

ssize_t write(int fd, const void* data, size_t size) { return Write(fd, data, size, -1); }
ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  return Write(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  return Write(fd, data, size, at);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  if (PathOf(fd).empty()) return syscall(SYS_writev, fd, parts, count);
  std::string joined;
  for (int i = 0; i < count; ++i)
    joined.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  return Write(fd, joined.data(), joined.size(), -1);
}
int ftruncate(int fd, off_t size) noexcept { return Truncate(fd, size); }
int ftruncate64(int fd, off64_t size) noexcept { return Truncate(fd, size); }
int fsync(int fd) { return Sync(fd, SYS_fsync); }
int fdatasync(int fd) { return Sync(fd, SYS_fdatasync); }

int rename(const char* from, const char* to) noexcept {
  return Rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  return Rename(from_folder, from, to_folder, to, 0);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  return Rename(from_folder, from, to_folder, to, flags);
}
int link(const char* from, const char* to) noexcept {
  return Link(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) noexcept {
  return Link(from_folder, from, to_folder, to, flags);
}
int unlink(const char* path) noexcept { return Unlink(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char* path, int flags) noexcept {
  return Unlink(folder, path, flags);
}
int rmdir(const char* path) noexcept { return Unlink(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) noexcept {
  const int result = Unlink(AT_FDCWD, path, 0);
  return result == 0 || errno != EISDIR ? result : Unlink(AT_FDCWD, path, AT_REMOVEDIR);
}
int mkdir(const char* path, mode_t mode) noexcept { return MakeFolder(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char* path, mode_t mode) noexcept {
  return MakeFolder(folder, path, mode);
}

}  // extern "C"
