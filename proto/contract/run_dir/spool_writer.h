// SPDX-License-Identifier: Apache-2.0
// The only writer of an attempt's spool: append-only frames (framing.h) in segments spool.000001 …
// of bounded size, which the daemon reads while they grow. A frame is one write(2): an event for
// which Append returned OK survives the death of the worker. Sync makes it survive a power cut.
// Call Sync before a checkpoint is renamed: then a checkpoint on disk implies that all its steps
// are in the spool.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/fd.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd {

inline constexpr int64_t kDefaultSpoolSegmentBytes = 8 << 20;

// Path of a segment; segments count from 1.
std::string SpoolSegmentPath(const std::string& dir, int64_t segment);

// Thread-safe.
class SpoolWriter {
 public:
  // Starts a new segment after the existing ones. `segment_bytes` <= 0 =
  // kDefaultSpoolSegmentBytes.
  static absl::StatusOr<std::unique_ptr<SpoolWriter>> Open(const std::string& dir,
                                                           int64_t segment_bytes);
  SpoolWriter(const SpoolWriter&) = delete;
  SpoolWriter& operator=(const SpoolWriter&) = delete;

  // Appends one event; the caller has set job, attempt and time. If the disk is full, a droppable
  // event (metrics, sample, notice) is dropped and counted. Any other event is kept in memory, up
  // to 1 MiB in all, and written before all later events. After drops, a Notice EVENTS_DROPPED with
  // their number precedes the next event that is written. Errors: ResourceExhausted if the backlog
  // is full too; other errors of the file system unchanged.
  absl::Status Append(const v1::Event& event, bool droppable);
  // Writes the backlog and makes everything appended so far durable. Errors: ResourceExhausted
  // while the disk is full.
  absl::Status Sync();
  // Events dropped since Open.
  int64_t dropped() const;

 private:
  SpoolWriter(std::string dir, int64_t segment_bytes)
      : dir_(std::move(dir)), segment_bytes_(segment_bytes) {}
  absl::Status OpenSegment(int64_t segment);
  absl::Status FlushBacklog();
  absl::Status WriteFrame(const std::string& frame);
  absl::Status ReportDrops(const v1::Event& like);

  const std::string dir_;
  const int64_t segment_bytes_;

  mutable std::mutex mutex_;
  // All below are guarded by mutex_.
  Fd fd_;
  int64_t segment_ = 0;
  int64_t size_ = 0;
  std::deque<std::string> backlog_;
  int64_t backlog_bytes_ = 0;
  int64_t dropped_ = 0;
  int64_t reported_ = 0;
};

}  // namespace trainerd
