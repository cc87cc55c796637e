// SPDX-License-Identifier: Apache-2.0
#include "server/metrics/compactor.h"

#include <algorithm>
#include <utility>

#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "server/metrics/compaction.h"
#include "server/metrics/metric_columns.h"
#include "server/store/rows/job_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// Jobs that the catch-up reads, and jobs that one change stores.
constexpr int kCatchUpJobs = 4096;
constexpr size_t kJobsAtOnce = 64;
constexpr absl::Duration kIdle = absl::Minutes(1);
constexpr absl::Duration kRetry = absl::Seconds(10);
constexpr absl::Duration kMaxPause = absl::Milliseconds(100);

}  // namespace

void MetricCompactor::Start(Store& store) {
  store_ = &store;
  thread_ = std::thread([this] { Loop(); });
}

void MetricCompactor::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_up_.Wake();
  if (thread_.joinable()) thread_.join();
}

bool MetricCompactor::stopping() {
  absl::MutexLock lock(&mutex_);
  return stopping_;
}

bool MetricCompactor::has_due() {
  absl::MutexLock lock(&mutex_);
  return !due_.empty();
}

void MetricCompactor::Note(const std::vector<EventRecord>& records) {
  bool wake = false;
  {
    absl::MutexLock lock(&mutex_);
    for (const EventRecord& record : records) {
      const bool ended = (record.flags & kJobEnded) != 0;
      const bool counts = (kMetricEventTypes >> record.type & 1) != 0;
      if (!ended && !counts) continue;
      int& count = counts_[record.job];
      if (counts) ++count;
      if (!ended && count < kChunkEvents) continue;
      counts_.erase(record.job);
      due_.insert(record.job);
      wake = true;
    }
  }
  if (wake) wake_up_.Wake();
}

absl::StatusOr<std::vector<int64_t>> MetricCompactor::TakeDue() {
  std::vector<std::string> jobs;
  {
    absl::MutexLock lock(&mutex_);
    while (!due_.empty() && jobs.size() < kJobsAtOnce)
      jobs.push_back(due_.extract(due_.begin()).value());
  }
  std::vector<int64_t> numbers;
  for (const std::string& job : jobs) {
    absl::StatusOr<JobRecord> record =
        store_->Read([&](Connection& db) { return LoadJob(db, JobId(job)); });
    // Deleted meanwhile.
    if (absl::IsNotFound(record.status())) continue;
    RETURN_IF_ERROR(record.status());
    numbers.push_back(record->number);
  }
  return numbers;
}

absl::StatusOr<std::vector<int64_t>> MetricCompactor::Next() {
  if (has_due()) return TakeDue();
  while (unfinished_.empty() && catching_up_ && !stopping()) {
    ASSIGN_OR_RETURN(IncompleteMetrics found, store_->Read([&](Connection& db) {
      return ListIncompleteMetrics(db, caught_up_, kCatchUpJobs);
    }));
    catching_up_ = found.through != 0;
    caught_up_ = found.through;
    unfinished_ = std::move(found.job_numbers);
  }
  const size_t count = std::min(unfinished_.size(), kJobsAtOnce);
  std::vector<int64_t> jobs(unfinished_.end() - count, unfinished_.end());
  unfinished_.resize(unfinished_.size() - count);
  return jobs;
}

void MetricCompactor::Loop() {
  while (!stopping()) {
    const absl::Time begin = SteadyNow();
    absl::StatusOr<std::vector<int64_t>> jobs = Next();
    absl::StatusOr<std::vector<int64_t>> more = jobs;
    if (jobs.ok()) more = CompactMetrics(*store_, *jobs);
    absl::Duration pause = std::min(SteadyNow() - begin, kMaxPause);
    if (more.ok()) {
      unfinished_.insert(unfinished_.end(), more->begin(), more->end());
      if (jobs->empty() && unfinished_.empty() && !catching_up_ && !has_due()) pause = kIdle;
    } else {
      spdlog::error("cannot compact metrics: {}", std::string(more.status().message()));
      if (jobs.ok()) unfinished_.insert(unfinished_.end(), jobs->begin(), jobs->end());
      pause = kRetry;
    }
    wake_up_.SleepFor(pause);
  }
}

}  // namespace trainerd::server
