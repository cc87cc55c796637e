// SPDX-License-Identifier: Apache-2.0
// Which files and folders this program has fsynced: the program's own fsync(2) goes before the C
// library's. Weak, so that a program of several such test files links.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

namespace trainerd::engine::testing {

class FsyncLog {
 public:
  static FsyncLog& Get() {
    static FsyncLog log;
    return log;
  }
  void Clear() {
    const std::lock_guard lock(mutex_);
    paths_.clear();
  }
  bool Has(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return std::find(paths_.begin(), paths_.end(), path) != paths_.end();
  }
  void Add(int fd) {
    char path[4096];
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t size = readlink(link.c_str(), path, sizeof(path));
    const std::lock_guard lock(mutex_);
    if (size > 0) paths_.emplace_back(path, static_cast<size_t>(size));
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> paths_;
};

}  // namespace trainerd::engine::testing

extern "C" __attribute__((weak)) int fsync(int fd) {
  trainerd::engine::testing::FsyncLog::Get().Add(fd);
  return static_cast<int>(syscall(SYS_fsync, fd));
}
