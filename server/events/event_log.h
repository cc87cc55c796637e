// SPDX-License-Identifier: Apache-2.0
// The event log as watchers read it: the newest events in memory, older ones from the database. One
// order for the whole daemon. Events get here after their commit (the store's listener), so nothing
// is shown that a crash could take back.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/store/event_record.h"

namespace trainerd::server {

// Shared between the ring and all watchers that still send it.
using EventPtr = std::shared_ptr<const EventRecord>;

// Thread-safety: all methods may be called from any thread.
class EventLog {
 public:
  // Reads whole changes after `after` from the database; of one job unless `job` ("jobs/{id}") is
  // empty.
  using ReadOld = std::function<absl::StatusOr<std::vector<EventRecord>>(const std::string& job,
                                                                         int64_t after, int limit)>;
  struct Limits {
    size_t events = 16'384;
    size_t bytes = 8 << 20;
  };
  explicit EventLog(Limits limits) : limits_(limits) {}

  // Before anything is published: the newest sequence number that is in the database, and how to
  // read it.
  void Start(int64_t last_seq, ReadOld read_old);
  // Called after every publication, on the publisher's thread. Set before the first publication.
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

  // Events of committed changes, in order.
  void Publish(const std::vector<EventRecord>& records);
  int64_t last_seq() const;

  // Whole changes after `after`, about `limit` events or more. Events of other jobs may be among
  // them when they come from memory. Empty: there is nothing newer, or (with a job) nothing of that
  // job; *read_through says up to where was looked.
  absl::StatusOr<std::vector<EventPtr>> Read(const std::string& job, int64_t after, int limit,
                                             int64_t* read_through) const;

 private:
  void Evict() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Limits limits_;
  std::function<void()> wake_ = [] {};
  ReadOld read_old_;

  mutable absl::Mutex mutex_;
  std::deque<EventPtr> ring_ ABSL_GUARDED_BY(mutex_);
  size_t ring_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // Everything after this one is in the ring.
  int64_t floor_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t last_seq_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace trainerd::server
