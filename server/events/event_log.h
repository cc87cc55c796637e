// SPDX-License-Identifier: Apache-2.0
// The event log as watchers read it: the recent events from memory, older ones from the database,
// in one order for the whole daemon. Events are published after their commit (by the store's
// listener), so a watcher never sees an event that a crash could undo.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/events/job_labels.h"
#include "server/store/rows/event_record.h"

namespace trainerd::server {

// shared_ptr: shared by the log and all watchers that still send the event.
using EventPtr = std::shared_ptr<const EventRecord>;

// Consecutive events of the log, whole changes only.
struct EventSlice {
  std::vector<EventPtr> events;
  // The slice holds all events up to this one. Equal to the start position: there are no newer
  // events.
  int64_t through = 0;
};

// Thread-safety: all methods may be called from any thread.
class EventLog {
 public:
  // Reads whole changes after `after` from the database; of one job unless `job` ("jobs/{id}") is
  // empty.
  using ReadOld = std::function<absl::StatusOr<std::vector<EventRecord>>(const std::string& job,
                                                                         int64_t after, int limit)>;
  // The recent events that are kept in memory.
  struct Limits {
    size_t events = 16'384;
    size_t bytes = 8 << 20;
  };
  explicit EventLog(Limits limits) : limits_(limits) {}

  // Call before the first publication, with the newest sequence number in the database.
  void Start(int64_t last_seq, ReadOld read_old);
  // `wake` is called after each publication, on the publisher's thread. Call before the first
  // publication.
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

  // Labels of the jobs of the log.
  JobLabels& labels() const { return labels_; }

  // Events of committed changes, in order.
  void Publish(const std::vector<EventRecord>& records);
  int64_t last_seq() const;

  // Events of all jobs after `after` from memory: at least `limit` events if there are so many,
  // then the rest of the last change. nullopt: they are no longer in memory; use Read. Never
  // blocks on a disk.
  std::optional<EventSlice> ReadRecent(int64_t after, int limit) const;

  // As ReadRecent, but reads the database if the events are no longer in memory, and then only
  // events of `job` unless it is empty. May block.
  absl::StatusOr<EventSlice> Read(const std::string& job, int64_t after, int limit) const;

 private:
  std::optional<EventSlice> ReadRing(int64_t after, int limit) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Evict() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Limits limits_;
  mutable JobLabels labels_;
  std::function<void()> wake_ = [] {};
  ReadOld read_old_;

  mutable absl::Mutex mutex_;
  std::deque<EventPtr> ring_ ABSL_GUARDED_BY(mutex_);
  size_t ring_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // All events after this one are in the ring.
  int64_t floor_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t last_seq_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace trainerd::server
