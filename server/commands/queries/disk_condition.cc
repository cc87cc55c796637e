// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/disk_condition.h"

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/free_space.h"
#include "proto/base/time.h"

namespace trainerd::server {

std::optional<v1::Job::Condition> DiskCondition::Check(absl::Time now) {
  const absl::StatusOr<int64_t> free = free_bytes_(state_dir_);
  absl::MutexLock lock(&mutex_);
  if (!free.ok() || *free >= kLeastFreeBytes) {
    since_.reset();
    return std::nullopt;
  }
  if (!since_.has_value()) since_ = now;
  v1::Job::Condition condition;
  condition.set_type("DiskLow");
  condition.set_active(true);
  condition.set_reason("FREE_SPACE");
  condition.set_message(absl::StrCat(FormatBytes(*free), " are free at ", state_dir_,
                                     ", less than ", FormatBytes(kLeastFreeBytes),
                                     "; `trainctl gc` and `trainctl rm` free some"));
  *condition.mutable_since() = ToProto(*since_);
  return condition;
}

}  // namespace trainerd::server
