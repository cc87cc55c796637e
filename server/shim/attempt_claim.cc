// SPDX-License-Identifier: Apache-2.0
// The order matters: only the holder of shim.lock may read or write the attempt's records.
#include "server/shim/attempt_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/time.h"
#include "proto/contract/run_dir/attempt_files.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kRetryInterval = absl::Milliseconds(10);

int OpenLockFile(const std::string& path) {
  return open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

// True when the lock was taken within `patience`.
bool LockWithin(int fd, absl::Duration patience) {
  const absl::Time give_up = SteadyNow() + patience;
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (SteadyNow() >= give_up) return false;
    absl::SleepFor(kRetryInterval);
  }
  return true;
}

// Why the attempt counts as started before; empty when it does not.
std::string StartedBefore(const std::string& attempt_dir) {
  for (const char* name : {"/exit.rec", "/shim.json", "/worker_exit.rec"}) {
    if (access((attempt_dir + name).c_str(), F_OK) == 0) {
      return absl::StrCat(attempt_dir, name, " exists, so the attempt was started before");
    }
  }
  return "";
}

}  // namespace

AttemptClaim::~AttemptClaim() {
  if (run_lock_fd_ >= 0) close(run_lock_fd_);
  if (shim_lock_fd_ >= 0) close(shim_lock_fd_);
}

AttemptClaim::Verdict AttemptClaim::Refuse(std::string why) {
  why_ = std::move(why);
  return Verdict::kRefused;
}

AttemptClaim::Verdict AttemptClaim::Take(const std::string& attempt_dir, absl::Duration patience) {
  shim_lock_fd_ = OpenLockFile(attempt_dir + "/shim.lock");
  if (shim_lock_fd_ < 0) {
    why_ = absl::StrCat("open ", attempt_dir, "/shim.lock: ", std::strerror(errno));
    return Verdict::kNotOurs;
  }
  // The daemon holds the lock for a moment while it checks for a shim, so one failed try is not
  // enough.
  if (!LockWithin(shim_lock_fd_, patience / 4)) {
    why_ = "another shim owns " + attempt_dir;
    return Verdict::kNotOurs;
  }
  why_ = StartedBefore(attempt_dir);
  if (!why_.empty()) return Verdict::kNotOurs;

  absl::StatusOr<internal::AttemptSpec> spec = ReadAttemptSpec(attempt_dir);
  if (!spec.ok()) return Refuse(std::string(spec.status().message()));
  spec_ = *std::move(spec);
  if (absl::Status status = CheckPublisher(spec_.run_dir(), spec_.attempt()); !status.ok()) {
    return Refuse(std::string(status.message()));
  }
  const std::string lock_path = spec_.run_dir() + "/run.lock";
  run_lock_fd_ = OpenLockFile(lock_path);
  if (run_lock_fd_ < 0) {
    return Refuse(absl::StrCat("open ", lock_path, ": ", std::strerror(errno)));
  }
  if (!LockWithin(run_lock_fd_, patience)) {
    return Refuse(absl::StrCat(lock_path, " is held by another attempt's process"));
  }
  // The publisher may have changed while this shim waited.
  if (absl::Status status = CheckPublisher(spec_.run_dir(), spec_.attempt()); !status.ok()) {
    return Refuse(std::string(status.message()));
  }
  // A hint for Executor::ListOwned and for the operator. A full disk can lose it; only the lock
  // counts.
  const std::string holder = absl::StrCat(spec_.attempt(), "\n");
  if (ftruncate(run_lock_fd_, 0) == 0 &&
      pwrite(run_lock_fd_, holder.data(), holder.size(), 0) < 0) {
    errno = 0;
  }
  return Verdict::kTaken;
}

}  // namespace trainerd::server
