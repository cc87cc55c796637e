// SPDX-License-Identifier: Apache-2.0
#include "server/ingest/activity.h"

#include <algorithm>
#include <vector>

namespace trainerd::server {
namespace {

constexpr size_t kRecentSteps = 51;
constexpr int kStalledSteps = 10;
constexpr absl::Duration kStalledAtLeast = absl::Minutes(5);

absl::Duration Median(const std::deque<absl::Duration>& values) {
  std::vector<absl::Duration> sorted(values.begin(), values.end());
  if (sorted.empty()) return absl::ZeroDuration();
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  return sorted[sorted.size() / 2];
}

}  // namespace

void ActivityTable::Start(const std::string& job, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  jobs_[job].last = now;
}

void ActivityTable::Step(const std::string& job, absl::Duration step_time, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  Activity& activity = jobs_[job];
  activity.last = now;
  activity.recent.push_back(step_time);
  if (activity.recent.size() > kRecentSteps) activity.recent.pop_front();
}

void ActivityTable::Forget(const std::string& job) {
  absl::MutexLock lock(&mutex_);
  jobs_.erase(job);
}

bool ActivityTable::IsStalled(const std::string& job, absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  auto it = jobs_.find(job);
  if (it == jobs_.end()) return false;
  const absl::Duration limit = std::max(kStalledSteps * Median(it->second.recent), kStalledAtLeast);
  return now - it->second.last > limit;
}

}  // namespace trainerd::server
