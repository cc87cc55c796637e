// SPDX-License-Identifier: Apache-2.0
// One watcher of the event log: a place in it and what to send next. Pure but for reading the log:
// time is a parameter, and one call answers with one thing to do.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/events/batch.h"
#include "server/events/decimator.h"

namespace trainerd::server {

struct WatchOptions {
  WatchFilter filter;
  // Events after this one are sent; with a snapshot, the sequence number as of which it was taken.
  int64_t start_seq = 0;
  // 0 = metrics are not merged (unless the watcher falls far behind).
  absl::Duration min_metrics_interval;
  absl::Duration bookmark_interval = absl::Seconds(10);
  bool until_terminal = false;
  // With until_terminal: the matched jobs that were not terminal as of counted_seq.
  std::set<std::string> open_jobs;
  int64_t counted_seq = 0;
  // Messages that come before the events, one a call, then nullopt; null = none.
  std::function<absl::StatusOr<std::optional<std::string>>()> preamble;
  // The watcher is ended with DeadlineExceeded then.
  absl::Time deadline = absl::InfiniteFuture();
};

// Batches that were made in one pass over the watchers: those at the same place with the same
// filter share one.
class BatchCache {
 public:
  struct Entry {
    Scan scan;
    Bytes bytes;  // null when the scan matched nothing
  };
  using Key = std::pair<int64_t, std::pair<std::string, uint64_t>>;
  std::map<Key, std::shared_ptr<const Entry>> entries;
};

class Watch {
 public:
  Watch(WatchOptions options, std::string database_id, absl::Time now);

  // What is to be done now: send `message`, or end the stream with `finish`, or nothing until
  // `wake` or new events.
  struct Next {
    Bytes message;
    std::optional<absl::Status> finish;
    absl::Time wake = absl::InfiniteFuture();
  };
  // Called only while no message is outstanding.
  Next Advance(const EventLog& log, BatchCache* cache, absl::Time now);

 private:
  absl::StatusOr<Bytes> TakePreamble();
  absl::StatusOr<Bytes> TakeBatch(const EventLog& log, BatchCache* cache, absl::Time now);
  absl::StatusOr<std::shared_ptr<const BatchCache::Entry>> ScanShared(const EventLog& log,
                                                                      BatchCache* cache) const;
  Bytes Decimate(const EventLog& log, const Scan& scan, absl::Time now);
  void Count(const Scan& scan);
  bool AllEnded() const;
  std::string Cursor(int64_t seq) const;

  WatchOptions options_;
  const std::string database_id_;
  int64_t position_;       // read up to here
  int64_t sent_position_;  // a cursor that was sent, or could be: nothing up to here is held back
  absl::Time last_message_;
  bool was_at_head_ = false;
  bool job_deleted_ = false;
  std::optional<Decimator> decimator_;
};

}  // namespace trainerd::server
