// SPDX-License-Identifier: Apache-2.0
// Makes reading of chosen files fail in this program, as a failing disk or a lost permission does
// (a test may run as root, for whom no permission is missing): the program's own open(2) and
// read(2) go before the C library's. Include it in one file of a test program.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string>

namespace trainerd {

class IoFaults {
 public:
  enum class Call { kOpen, kRead };
  static IoFaults& Get() {
    static IoFaults faults;
    return faults;
  }
  // From now on `call` fails with `error` for files whose path contains `part`.
  void Fail(Call call, const std::string& part, int error) {
    const std::lock_guard lock(mutex_);
    call_ = call;
    part_ = part;
    error_ = error;
    hits_ = 0;
    active_ = true;
  }
  void Clear() { active_ = false; }
  // Calls that failed since Fail.
  int hits() const { return hits_; }

  // The errno that this call gets; 0 = it goes through.
  int Check(Call call, const std::string& path) {
    const std::lock_guard lock(mutex_);
    if (call != call_ || path.find(part_) == std::string::npos) return 0;
    ++hits_;
    return error_;
  }
  bool active() const { return active_; }

 private:
  std::atomic<bool> active_{false};
  std::atomic<int> hits_{0};
  std::mutex mutex_;
  Call call_ = Call::kOpen;
  std::string part_;
  int error_ = 0;
};

// Ends the fault with its scope.
struct IoFault {
  IoFault(IoFaults::Call call, const std::string& part, int error) {
    IoFaults::Get().Fail(call, part, error);
  }
  ~IoFault() { IoFaults::Get().Clear(); }
};

}  // namespace trainerd

extern "C" int open(const char* path, int flags, ...) {
  using trainerd::IoFaults;
  mode_t mode = 0;
  if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  if (IoFaults::Get().active()) {
    if (const int error = IoFaults::Get().Check(IoFaults::Call::kOpen, path); error != 0) {
      errno = error;
      return -1;
    }
  }
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

extern "C" ssize_t read(int fd, void* buffer, size_t size) {
  using trainerd::IoFaults;
  if (IoFaults::Get().active()) {
    char path[4096];
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t length = readlink(link.c_str(), path, sizeof(path));
    const std::string name(path, length > 0 ? static_cast<size_t>(length) : 0);
    if (const int error = IoFaults::Get().Check(IoFaults::Call::kRead, name); error != 0) {
      errno = error;
      return -1;
    }
  }
  return syscall(SYS_read, fd, buffer, size);
}
