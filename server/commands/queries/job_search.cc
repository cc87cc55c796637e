// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/job_search.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "server/ledger/queue_order.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {
namespace {

// The filter, but for a checkpoint as base.
class Matcher {
 public:
  Matcher(const IndexedJobs& jobs, const JobFilter& filter)
      : filter_(filter),
        created_after_(absl::ToUnixMicros(filter.created_after)),
        created_before_(absl::ToUnixMicros(filter.created_before)) {
    for (v1::Job::State state : filter.states) states_ |= uint64_t{1} << state;
    const auto owner = std::find(jobs.owners.begin(), jobs.owners.end(), filter.owner);
    owner_ = static_cast<uint32_t>(owner - jobs.owners.begin());
  }

  // The numbers of the jobs whose base the filter names; sorted. nullopt: it names none.
  void SetJobsOfBase(std::optional<std::vector<int64_t>> numbers) {
    jobs_of_base_ = std::move(numbers);
  }

  bool Matches(const IndexedJob& job) const {
    if (states_ != 0 && ((states_ >> job.state) & 1) == 0) return false;
    if (job.create_time < created_after_ || job.create_time >= created_before_) return false;
    if (!filter_.owner.empty() && job.owner != owner_) return false;
    if (!MatchesName(job.name())) return false;
    if (jobs_of_base_.has_value() &&
        !std::binary_search(jobs_of_base_->begin(), jobs_of_base_->end(), job.number))
      return false;
    return filter_.labels.empty() ||
           filter_.labels.MatchesLabels([&](const std::string& key) { return job.Label(key); });
  }

 private:
  bool MatchesName(std::string_view name) const {
    if (filter_.name.empty()) return true;
    return filter_.name_prefix ? name.substr(0, filter_.name.size()) == filter_.name
                               : name == filter_.name;
  }

  const JobFilter& filter_;
  const int64_t created_after_, created_before_;
  // Bits; 0 = all.
  uint64_t states_ = 0;
  uint32_t owner_ = 0;
  std::optional<std::vector<int64_t>> jobs_of_base_;
};

std::vector<JobPosition> FindByNumber(const IndexedJobs& all, const JobQuery& query,
                                      const Matcher& matcher) {
  std::vector<JobPosition> found;
  const size_t limit = static_cast<size_t>(query.limit);
  const std::vector<IndexedJob>& jobs = all.jobs;
  const int64_t after = query.after.number;
  const auto add = [&](const IndexedJob& job) {
    if (matcher.Matches(job)) found.push_back({.number = job.number});
    return found.size() < limit;
  };
  if (query.descending) {
    const auto end = after == 0 ? jobs.end()
                                : std::partition_point(
                                      jobs.begin(), jobs.end(),
                                      [&](const IndexedJob& job) { return job.number < after; });
    for (auto job = std::make_reverse_iterator(end); job != jobs.rend() && add(*job); ++job) {
    }
  } else {
    auto job = std::partition_point(jobs.begin(), jobs.end(),
                                    [&](const IndexedJob& job) { return job.number <= after; });
    for (; job != jobs.end() && add(*job); ++job) {
    }
  }
  return found;
}

// What a job is sorted by, with its number. `name` is that of the index.
struct Key {
  int64_t value = 0;
  std::string_view name;
  int64_t number = 0;

  bool operator<(const Key& other) const {
    return std::tie(value, name, number) < std::tie(other.value, other.name, other.number);
  }
};

Key KeyOf(const IndexedJob& job, JobOrder order) {
  Key key{.number = job.number};
  if (order == JobOrder::kEnded) key.value = job.end_time;
  if (order == JobOrder::kPriority) key.value = job.priority;
  if (order == JobOrder::kName) key.name = job.name();
  return key;
}

std::vector<JobPosition> FindByValue(const IndexedJobs& all, const JobQuery& query,
                                     const Matcher& matcher) {
  const auto comes_before = [&](const Key& a, const Key& b) {
    return query.descending ? b < a : a < b;
  };
  const Key after{
      .value = query.after.value, .name = query.after.name, .number = query.after.number};
  // A heap; its front is the last of the page so far.
  std::vector<Key> found;
  for (const IndexedJob& job : all.jobs) {
    const Key key = KeyOf(job, query.order);
    if (after.number != 0 && !comes_before(after, key)) continue;
    const bool full = found.size() == static_cast<size_t>(query.limit);
    if ((full && !comes_before(key, found.front())) || !matcher.Matches(job)) continue;
    if (full) {
      std::pop_heap(found.begin(), found.end(), comes_before);
      found.pop_back();
    }
    found.push_back(key);
    std::push_heap(found.begin(), found.end(), comes_before);
  }
  std::sort_heap(found.begin(), found.end(), comes_before);
  std::vector<JobPosition> positions;
  for (const Key& key : found) {
    positions.push_back({.number = key.number, .value = key.value, .name = std::string(key.name)});
  }
  return positions;
}

// Entries of the queue whose priority is the effective one.
std::vector<JobPosition> FindInQueue(const IndexedJobs& all, const JobQuery& query,
                                     std::vector<QueueEntry> queue, const Matcher& matcher) {
  const auto comes_before = [&](const QueueEntry& a, const QueueEntry& b) {
    constexpr absl::Duration kAged = absl::ZeroDuration();
    return query.descending ? ComesFirst(b, a, query.queue_time, kAged)
                            : ComesFirst(a, b, query.queue_time, kAged);
  };
  const QueueEntry after{.number = query.after.number,
                         .priority = static_cast<int>(query.after.value),
                         .order = query.after.order};
  std::erase_if(queue, [&](const QueueEntry& entry) {
    if (after.number != 0 && !comes_before(after, entry)) return true;
    const IndexedJob* const job = all.Find(entry.number);
    return job == nullptr || !matcher.Matches(*job);
  });
  const size_t count = std::min(queue.size(), static_cast<size_t>(query.limit));
  std::partial_sort(queue.begin(), queue.begin() + static_cast<int64_t>(count), queue.end(),
                    comes_before);
  std::vector<JobPosition> positions;
  for (size_t i = 0; i < count; ++i) {
    positions.push_back(
        {.number = queue[i].number, .value = queue[i].priority, .order = queue[i].order});
  }
  return positions;
}

// Those that wait for something else than a device are last.
absl::StatusOr<std::vector<QueueEntry>> ReadQueue(Connection& db, const JobQuery& query) {
  ASSIGN_OR_RETURN(std::vector<QueueEntry> queue, ListQueued(db, query.queue_time));
  for (QueueEntry& entry : queue) {
    const bool can_start = entry.wait_reason == v1::Job::RESOURCES;
    entry.priority =
        can_start ? EffectivePriority(entry, query.queue_time, query.aging) : kCannotStart;
    if (!can_start) entry.order = 0;
  }
  return queue;
}

}  // namespace

absl::StatusOr<std::vector<JobPosition>> FindJobs(JobIndex& index, Connection& db,
                                                  const JobQuery& query) {
  using Found = absl::StatusOr<std::vector<JobPosition>>;
  return index.Search(db, [&](const IndexedJobs& all) -> Found {
    Matcher matcher(all, query.filter);
    if (!query.filter.base.empty()) {
      ASSIGN_OR_RETURN(std::vector<int64_t> numbers, NumbersBasedOn(db, JobId(query.filter.base)));
      std::sort(numbers.begin(), numbers.end());
      matcher.SetJobsOfBase(std::move(numbers));
    }
    if (query.order == JobOrder::kCreated) return FindByNumber(all, query, matcher);
    if (query.order != JobOrder::kQueue) return FindByValue(all, query, matcher);
    ASSIGN_OR_RETURN(std::vector<QueueEntry> queue, ReadQueue(db, query));
    return FindInQueue(all, query, std::move(queue), matcher);
  });
}

bool MatchesBase(const v1::Job& job, const std::string& base) {
  return base.empty() || job.base() == base ||
         (CheckpointId(base).empty() && absl::StartsWith(job.base(), base + "/"));
}

}  // namespace trainerd::server
