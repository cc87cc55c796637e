// SPDX-License-Identifier: Apache-2.0
// A pidfd becomes readable when its process exits. Waiting for SIGCHLD or for any child would take
// the exit status of the daemon's other children.
#include "server/runs/shim_reaper.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace trainerd::server {

ShimReaper::ShimReaper() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_.is_open()) thread_ = std::thread([this] { Loop(); });
}

ShimReaper::~ShimReaper() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

void ShimReaper::Add(const std::string& attempt_dir, pid_t pid) {
  {
    absl::MutexLock lock(&mutex_);
    entries_[attempt_dir] = {.child = {.pid = pid}};
  }
  Wake();
}

ShimReaper::Child ShimReaper::Find(const std::string& attempt_dir) {
  absl::MutexLock lock(&mutex_);
  ReapExited();
  const auto found = entries_.find(attempt_dir);
  return found == entries_.end() ? Child() : found->second.child;
}

void ShimReaper::Forget(const std::string& attempt_dir) {
  absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(attempt_dir);
  if (found != entries_.end()) found->second.forgotten = true;
  ReapExited();
}

void ShimReaper::ReapExited() {
  for (auto& [dir, entry] : entries_) {
    Child& child = entry.child;
    if (child.exited) continue;
    const pid_t got = waitpid(child.pid, &child.wait_status, WNOHANG);
    child.exited = got == child.pid || (got < 0 && errno == ECHILD);
  }
  std::erase_if(entries_,
                [](const auto& item) { return item.second.forgotten && item.second.child.exited; });
}

void ShimReaper::Wake() {
  const uint64_t one = 1;
  // A full counter wakes the thread as well.
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
}

std::map<std::string, pid_t> ShimReaper::Running() const {
  std::map<std::string, pid_t> running;
  for (const auto& [dir, entry] : entries_) {
    if (!entry.child.exited) running.emplace(dir, entry.child.pid);
  }
  return running;
}

void ShimReaper::Loop() {
  // Owned by this thread, so that no descriptor is closed while it is polled.
  std::map<std::string, Fd> watched;
  while (true) {
    std::map<std::string, pid_t> running;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      ReapExited();
      running = Running();
    }
    std::erase_if(watched, [&](const auto& item) { return running.count(item.first) == 0; });
    for (const auto& [dir, pid] : running) {
      if (watched.count(dir) > 0) continue;
      watched.emplace(dir, Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))));
    }
    std::vector<pollfd> polled = {{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
    for (const auto& [dir, fd] : watched) {
      // poll(2) ignores a negative descriptor.
      polled.push_back({.fd = fd.get(), .events = POLLIN, .revents = 0});
    }
    poll(polled.data(), polled.size(), -1);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(wake_.get(), &count, sizeof(count));
  }
}

}  // namespace trainerd::server
