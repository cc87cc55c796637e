// SPDX-License-Identifier: Apache-2.0
// Labels of jobs at each position of the event log, for watchers with a label selector. Kept in
// memory for the jobs that such a watcher has met; read from the database for the others.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/contract/config/label_selector.h"
#include "server/store/rows/event_record.h"
#include "server/store/rows/label_rows.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class JobLabels {
 public:
  // The histories of the jobs, as of one moment, and the newest event of that moment.
  struct Answer {
    std::vector<LabelHistory> histories;
    int64_t last_seq = 0;
  };
  using Read = std::function<absl::StatusOr<Answer>(const std::vector<std::string>& job_ids)>;

  // Call before all else.
  void SetRead(Read read) { read_ = std::move(read); }
  // A published event. It ends what is known of its job if it changes the labels.
  void Note(const EventRecord& record);

  enum class Match { kNo, kYes, kUnknown };
  // Whether the event is one of a matching job: its labels match after the event, or an event that
  // changes them ends a match. Never blocks on a disk. kUnknown: Load is necessary.
  Match Matches(const LabelSelector& selector, const EventRecord& record) const;
  // The same for the labels after the event alone.
  Match MatchesAfter(const LabelSelector& selector, const EventRecord& record) const;

  // Reads the jobs that are not known. May block.
  absl::Status Load(const std::vector<std::string>& jobs);

 private:
  struct Entry {
    LabelHistory history;
    // What is known ends before this event.
    int64_t end_seq = INT64_MAX;
    int64_t read_at = 0;
  };
  Match MatchesAt(const LabelSelector& selector, const std::string& job, int64_t seq) const;

  Read read_;
  mutable absl::Mutex mutex_;
  // The newest event that changed the labels of any job.
  int64_t changed_seq_ ABSL_GUARDED_BY(mutex_) = 0;
  // By name of the job.
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
