// SPDX-License-Identifier: Apache-2.0
#include "server/events/event_log.h"

#include <algorithm>
#include <utility>

#include "proto/base/status_macros.h"

namespace trainerd::server {

void EventLog::Start(int64_t last_seq, ReadOld read_old) {
  absl::MutexLock lock(&mutex_);
  floor_ = last_seq;
  last_seq_ = last_seq;
  read_old_ = std::move(read_old);
}

void EventLog::Publish(const std::vector<EventRecord>& records) {
  // A watcher that sees such an event finds that the labels before it no longer hold.
  for (const EventRecord& record : records) labels_.Note(record);
  {
    absl::MutexLock lock(&mutex_);
    for (const EventRecord& record : records) {
      ring_.push_back(std::make_shared<const EventRecord>(record));
      ring_bytes_ += record.bytes->size();
      last_seq_ = record.seq;
    }
    Evict();
  }
  wake_();
}

void EventLog::Evict() {
  // Evicts whole changes, so that a read from memory never begins inside a change.
  while (ring_.size() > limits_.events || ring_bytes_ > limits_.bytes) {
    const int64_t change = ring_.front()->change;
    while (!ring_.empty() && ring_.front()->change == change) {
      floor_ = ring_.front()->seq;
      ring_bytes_ -= ring_.front()->bytes->size();
      ring_.pop_front();
    }
  }
}

int64_t EventLog::last_seq() const {
  absl::MutexLock lock(&mutex_);
  return last_seq_;
}

std::optional<EventSlice> EventLog::ReadRing(int64_t after, int limit) const {
  if (after < floor_) return std::nullopt;
  EventSlice slice;
  auto it = std::upper_bound(ring_.begin(), ring_.end(), after,
                             [](int64_t seq, const EventPtr& e) { return seq < e->seq; });
  for (; it != ring_.end(); ++it) {
    const bool new_change = slice.events.empty() || slice.events.back()->change != (*it)->change;
    if (new_change && static_cast<int>(slice.events.size()) >= limit) break;
    slice.events.push_back(*it);
  }
  slice.through = slice.events.empty() ? std::max(after, last_seq_) : slice.events.back()->seq;
  return slice;
}

std::optional<EventSlice> EventLog::ReadRecent(int64_t after, int limit) const {
  absl::MutexLock lock(&mutex_);
  return ReadRing(after, limit);
}

absl::StatusOr<EventSlice> EventLog::Read(const std::string& job, int64_t after, int limit) const {
  int64_t floor = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (std::optional<EventSlice> recent = ReadRing(after, limit)) return *std::move(recent);
    floor = floor_;
  }
  ASSIGN_OR_RETURN(std::vector<EventRecord> records, read_old_(job, after, limit));
  EventSlice slice;
  for (EventRecord& record : records) {
    slice.events.push_back(std::make_shared<const EventRecord>(std::move(record)));
  }
  // Everything up to the ring's floor was committed before this read.
  const bool exhausted = static_cast<int>(slice.events.size()) < limit;
  const int64_t last = slice.events.empty() ? after : slice.events.back()->seq;
  slice.through = exhausted ? std::max(last, floor) : last;
  return slice;
}

}  // namespace trainerd::server
