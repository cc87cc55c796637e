// SPDX-License-Identifier: Apache-2.0
// The condition DiskLow of the daemon: less than kLeastFreeBytes are free in its state directory.
// DiskLow of a job (event.proto) is another one: it depends on the size of the job's checkpoints.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/directory.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class DiskCondition {
 public:
  using FreeBytesOf = std::function<absl::StatusOr<int64_t>(const std::string& path)>;
  explicit DiskCondition(std::string state_dir, FreeBytesOf free_bytes = FreeBytes)
      : state_dir_(std::move(state_dir)), free_bytes_(std::move(free_bytes)) {}

  // nullopt: there is enough space, or the file system does not say. `since` is the time of the
  // first call that found too little.
  std::optional<v1::Job::Condition> Check(absl::Time now);

 private:
  const std::string state_dir_;
  const FreeBytesOf free_bytes_;
  absl::Mutex mutex_;
  std::optional<absl::Time> since_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
