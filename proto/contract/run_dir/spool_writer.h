// SPDX-License-Identifier: Apache-2.0
// The one writer of an attempt's spool: append-only frames (framing.h) in segments spool.000001 …
// of bounded size, read by the daemon while it grows. A frame is one write(2), so a killed worker
// loses nothing that Append returned for; Sync makes it survive a power cut. Call Sync before a
// checkpoint's rename: then every step up to the checkpoint is in the spool whenever the checkpoint
// is on disk.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd {

inline constexpr int64_t kDefaultSpoolSegmentBytes = 8 << 20;

// Path of a segment; segments count from 1.
std::string SpoolSegmentPath(const std::string& dir, int64_t segment);

// Thread-safe.
class SpoolWriter {
 public:
  // Begins a new segment after those that are there. `segment_bytes` <= 0 =
  // kDefaultSpoolSegmentBytes.
  static absl::StatusOr<std::unique_ptr<SpoolWriter>> Open(const std::string& dir,
                                                           int64_t segment_bytes);
  ~SpoolWriter();
  SpoolWriter(const SpoolWriter&) = delete;
  SpoolWriter& operator=(const SpoolWriter&) = delete;

  // Appends one event (job, attempt and time are the caller's). With a full disk a droppable event
  // (metrics, sample, notice) is dropped and counted; any other is kept in memory, up to 1 MiB, and
  // written before whatever comes later. After drops the first write that works is preceded by a
  // Notice EVENTS_DROPPED with their number. Errors: ResourceExhausted when the backlog is full
  // too; other errors of the file system as they are.
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
  int fd_ = -1;
  int64_t segment_ = 0;
  int64_t size_ = 0;
  std::deque<std::string> backlog_;
  int64_t backlog_bytes_ = 0;
  int64_t dropped_ = 0;
  int64_t reported_ = 0;
};

}  // namespace trainerd
