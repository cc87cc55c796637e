// SPDX-License-Identifier: Apache-2.0
// One watcher of the event log: its position and what to send next. Free of threads and clocks:
// time is a parameter, and each call returns one thing to do.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/events/batch.h"
#include "server/events/decimator.h"

namespace trainerd::server {

struct WatchOptions {
  WatchFilter filter;
  // Events after this one are sent. With a snapshot: the sequence number at which it was taken.
  int64_t start_seq = 0;
  // 0 = metrics are not merged, unless the watcher falls far behind.
  absl::Duration min_metrics_interval;
  absl::Duration bookmark_interval = absl::Seconds(10);
  bool until_terminal = false;
  // With until_terminal: the matched jobs that were not terminal at counted_seq.
  std::set<std::string> open_jobs;
  int64_t counted_seq = 0;
  // Sent before all else; null = none.
  Bytes first_message;
  // Reads further messages from the database that are sent before the events: one per call, then
  // nullopt. Null = none.
  std::function<absl::StatusOr<std::optional<std::string>>()> snapshot;
  // At this time the watcher is ended with DeadlineExceeded.
  absl::Time deadline = absl::InfiniteFuture();
};

// Batches made in one pass over the watchers. Watchers with the same position and filter share one.
class BatchCache {
 public:
  struct Entry {
    Scan scan;
    // Null when the scan matched nothing.
    Bytes bytes;
  };
  // Position, job, types, label selector.
  using Key = std::tuple<int64_t, std::string, uint64_t, std::string>;
  std::map<Key, std::shared_ptr<const Entry>> entries;
};

// A watcher that is in the recent part of the log is live: Advance serves it from memory. A watcher
// behind that catches up: ReadHistory prepares each of its messages from the database.
// Thread-safety: one thread at a time.
class Watch {
 public:
  Watch(WatchOptions options, std::string database_id, absl::Time now);

  // What to do now: send `message`, or end the stream with `finish`, or call ReadHistory and then
  // Advance again, or nothing until `wake` or new events.
  struct Next {
    Bytes message;
    std::optional<absl::Status> finish;
    bool read_history = false;
    absl::Time wake = absl::InfiniteFuture();
  };
  // Never blocks on a disk. Call only while no message is outstanding.
  Next Advance(const EventLog& log, BatchCache* cache, absl::Time now);

  // Prepares the message that the next Advance returns, from the snapshot or the database. May
  // block.
  void ReadHistory(const EventLog& log, absl::Time now);

 private:
  // Null: there is nothing to send. nullopt: ReadHistory is necessary.
  std::optional<Bytes> TakeRecent(const EventLog& log, BatchCache* cache, absl::Time now);
  absl::StatusOr<Bytes> TakeHistory(const EventLog& log, absl::Time now);
  absl::StatusOr<Bytes> TakeSnapshot();
  // Null: the events, or the labels of their jobs, are not in memory.
  std::shared_ptr<const BatchCache::Entry> ScanShared(const EventLog& log, BatchCache* cache) const;
  void MergeIfSlow(const EventLog& log);
  Bytes Decimate(const EventLog& log, const Scan& scan, absl::Time now);
  void Count(const EventLog& log, const Scan& scan);
  // An event that changed the labels of a job.
  void CountRelabelled(const EventLog& log, const EventRecord& event);
  // nullopt: the stream continues.
  std::optional<absl::Status> EndOf(absl::Time now) const;
  bool AllEnded() const;
  std::string Cursor(int64_t seq) const;

  WatchOptions options_;
  const std::string database_id_;
  // The log was read up to here.
  int64_t position_;
  // The newest cursor that is valid: no event up to it is held back.
  int64_t sent_position_;
  absl::Time last_message_;
  bool was_at_head_ = false;
  bool job_deleted_ = false;
  std::optional<Decimator> decimator_;
  // The result of ReadHistory.
  std::optional<absl::StatusOr<Bytes>> prepared_;
};

}  // namespace trainerd::server
