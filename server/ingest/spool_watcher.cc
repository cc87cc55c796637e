// SPDX-License-Identifier: Apache-2.0
#include "server/ingest/spool_watcher.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "proto/base/atomic_file.h"

namespace trainerd::server {
namespace {

constexpr uint32_t kMask = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR;

// Discards what is queued; both descriptors are non-blocking.
void Drain(int fd) {
  char buffer[16 << 10];
  while (read(fd, buffer, sizeof(buffer)) > 0) {
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<SpoolWatcher>> SpoolWatcher::Create() {
  const int inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (inotify_fd < 0) {
    return ErrnoStatus(errno, "inotify (probably fs.inotify.max_user_instances is too low)");
  }
  const int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_fd < 0) {
    const int error = errno;
    close(inotify_fd);
    return ErrnoStatus(error, "eventfd");
  }
  return std::unique_ptr<SpoolWatcher>(new SpoolWatcher(inotify_fd, event_fd));
}

SpoolWatcher::~SpoolWatcher() {
  close(inotify_fd_);
  close(event_fd_);
}

absl::Status SpoolWatcher::Add(const std::string& dir) {
  absl::MutexLock lock(&mutex_);
  const int watch = inotify_add_watch(inotify_fd_, dir.c_str(), kMask);
  if (watch < 0) return ErrnoStatus(errno, "watch " + dir);
  watches_[dir] = watch;
  return absl::OkStatus();
}

void SpoolWatcher::Remove(const std::string& dir) {
  absl::MutexLock lock(&mutex_);
  const auto found = watches_.find(dir);
  if (found == watches_.end()) return;
  // Fails when the directory was deleted; the kernel has then removed the watch.
  inotify_rm_watch(inotify_fd_, found->second);
  watches_.erase(found);
}

bool SpoolWatcher::Wait(absl::Duration timeout) {
  pollfd fds[] = {{inotify_fd_, POLLIN, 0}, {event_fd_, POLLIN, 0}};
  const int64_t milliseconds = std::clamp<int64_t>(
      absl::ToInt64Milliseconds(absl::Ceil(timeout, absl::Milliseconds(1))), 0, 24 * 3600 * 1000);
  if (poll(fds, 2, static_cast<int>(milliseconds)) <= 0) return false;
  Drain(inotify_fd_);
  Drain(event_fd_);
  return true;
}

void SpoolWatcher::Wake() {
  const uint64_t one = 1;
  // The write fails only when the counter is full, which also wakes the waiter.
  if (write(event_fd_, &one, sizeof(one)) < 0) errno = 0;
}

}  // namespace trainerd::server
