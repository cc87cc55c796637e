// SPDX-License-Identifier: Apache-2.0
// What has queued up for a watcher: a scan of the log through its filter, and the message made of
// it as bytes that all watchers with the same filter and place share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/events/event_log.h"

namespace trainerd::server {

// A serialized StreamStatusResponse. Shared by every watcher that it is sent to.
using Bytes = std::shared_ptr<const std::string>;

struct WatchFilter {
  std::string job;     // jobs/{id}; empty = all jobs
  uint64_t types = 0;  // bit n = field n of Event.body; 0 = all
  bool Matches(const EventRecord& record) const {
    return (job.empty() || job == record.job) && (types == 0 || (types >> record.type & 1) != 0);
  }
};

constexpr int kMaxBatchEvents = 256;
constexpr int64_t kMaxBatchBytes = 256 * 1024;

struct Scan {
  std::vector<EventPtr> events;  // those that match; whole changes
  int64_t through = 0;           // the log was looked at up to here
  // Of all events of the filter's jobs, whatever their type.
  std::vector<EventPtr> job_flags;
};

// Looks at the log after `after` until the batch is full or nothing more is there. A change is
// never split: one that does not fit into a batch that has begun is left for the next.
absl::StatusOr<Scan> ScanLog(const EventLog& log, const WatchFilter& filter, int64_t after);

// A StreamStatusResponse of these events (none: a bookmark).
Bytes MakeBatch(const std::vector<EventPtr>& events, const std::string& cursor, int64_t lag_events);

}  // namespace trainerd::server
