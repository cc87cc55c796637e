// SPDX-License-Identifier: Apache-2.0
// The next batch of a watcher: a scan of the log through the watcher's filter, and the message made
// from it. All watchers with the same filter and position share the bytes of the message.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/events/event_log.h"

namespace trainerd::server {

// A serialized StreamStatusResponse. shared_ptr: shared by all watchers that it is sent to.
using Bytes = std::shared_ptr<const std::string>;

struct WatchFilter {
  // jobs/{id}; empty = all jobs.
  std::string job;
  // Bit n = field n of Event.body; 0 = all types.
  uint64_t types = 0;
  // Null = all jobs. Of equal texts one is enough.
  std::shared_ptr<const LabelSelector> selector;
  std::string selector_text;

  bool MatchesType(const EventRecord& record) const {
    return types == 0 || (types >> record.type & 1) != 0;
  }
  JobLabels::Match MatchesJob(const JobLabels& labels, const EventRecord& record) const {
    if (!job.empty() && job != record.job) return JobLabels::Match::kNo;
    // A notice of the daemon itself is of no job that could match.
    if (selector != nullptr && record.job.empty()) return JobLabels::Match::kNo;
    return selector == nullptr ? JobLabels::Match::kYes : labels.Matches(*selector, record);
  }
};

constexpr int kMaxBatchEvents = 256;
constexpr int64_t kMaxBatchBytes = 256 * 1024;

struct Scan {
  // The matching events of whole changes.
  std::vector<EventPtr> events;
  // The log was scanned up to this sequence number.
  int64_t through = 0;
  // Events with flags of the filter's jobs, of any type.
  std::vector<EventPtr> job_flags;
  // The scan ended before an event of a job whose labels are not known.
  bool needs_labels = false;
};

// Scans the events in memory after `after` until the batch is full or the log ends. Never splits a
// change: a change that does not fit goes into the next batch. nullopt: the events after `after`,
// or the labels of their jobs, are not in memory.
std::optional<Scan> ScanRecent(const EventLog& log, const WatchFilter& filter, int64_t after);
// As ScanRecent, but reads the database where necessary. May block.
absl::StatusOr<Scan> ScanLog(const EventLog& log, const WatchFilter& filter, int64_t after);

// A StreamStatusResponse with these events; without events, it is a bookmark.
Bytes MakeBatch(const std::vector<EventPtr>& events, const std::string& cursor, int64_t lag_events);

}  // namespace trainerd::server
