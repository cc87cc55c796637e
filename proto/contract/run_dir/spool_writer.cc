// SPDX-License-Identifier: Apache-2.0
// Segments are written with pwrite(2) at a known size. A short write is cut off, so a reader never
// finds an incomplete frame in the middle of a segment.
#include "proto/contract/run_dir/spool_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/framing.h"

namespace trainerd {
namespace {

constexpr char kPrefix[] = "spool.";
constexpr int64_t kBacklogLimitBytes = 1 << 20;

// Highest segment in `dir`, 0 = none.
absl::StatusOr<int64_t> LastSegment(const std::string& dir) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(dir));
  int64_t last = 0, number = 0;
  for (absl::string_view name : names) {
    if (absl::ConsumePrefix(&name, kPrefix) && absl::SimpleAtoi(name, &number)) {
      last = std::max(last, number);
    }
  }
  return last;
}

bool IsDiskFull(const absl::Status& status) { return absl::IsResourceExhausted(status); }

}  // namespace

std::string SpoolSegmentPath(const std::string& dir, int64_t segment) {
  return absl::StrFormat("%s/%s%06d", dir, kPrefix, segment);
}

absl::StatusOr<std::unique_ptr<SpoolWriter>> SpoolWriter::Open(const std::string& dir,
                                                               int64_t segment_bytes) {
  if (segment_bytes <= 0) segment_bytes = kDefaultSpoolSegmentBytes;
  ASSIGN_OR_RETURN(const int64_t last, LastSegment(dir));
  std::unique_ptr<SpoolWriter> writer(new SpoolWriter(dir, segment_bytes));
  RETURN_IF_ERROR(writer->OpenSegment(last + 1));
  return writer;
}

absl::Status SpoolWriter::OpenSegment(int64_t segment) {
  const std::string path = SpoolSegmentPath(dir_, segment);
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.is_open()) return ErrnoStatus(errno, "create spool segment " + path);
  // A reader continues with the next segment once it exists, so the old one must be durable by
  // then. The new segment is used even if that fails.
  const int error = fd_.is_open() && fdatasync(fd_.get()) != 0 ? errno : 0;
  fd_ = std::move(fd);
  segment_ = segment;
  size_ = 0;
  if (error != 0) return ErrnoStatus(error, "sync the spool segment before " + path);
  return FsyncPath(dir_);
}

absl::Status SpoolWriter::WriteFrame(const std::string& frame) {
  const int64_t frame_bytes = static_cast<int64_t>(frame.size());
  if (!fd_.is_open() || (size_ > 0 && size_ + frame_bytes > segment_bytes_)) {
    RETURN_IF_ERROR(OpenSegment(segment_ + 1));
  }
  int64_t written = 0;
  while (written < frame_bytes) {
    const ssize_t n =
        pwrite(fd_.get(), frame.data() + written, frame.size() - written, size_ + written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n < 0 ? errno : ENOSPC;
      // A tail that cannot be cut off stays as an incomplete frame; the next frame then goes into a
      // new segment.
      if (written > 0 && ftruncate(fd_.get(), size_) != 0) fd_.Reset();
      return ErrnoStatus(error, "write spool segment " + SpoolSegmentPath(dir_, segment_));
    }
    written += n;
  }
  size_ += frame_bytes;
  return absl::OkStatus();
}

absl::Status SpoolWriter::FlushBacklog() {
  while (!backlog_.empty()) {
    RETURN_IF_ERROR(WriteFrame(backlog_.front()));
    backlog_bytes_ -= static_cast<int64_t>(backlog_.front().size());
    backlog_.pop_front();
  }
  return absl::OkStatus();
}

absl::Status SpoolWriter::ReportDrops(const v1::Event& like) {
  if (dropped_ == reported_) return absl::OkStatus();
  v1::Event event;
  event.set_job(like.job());
  event.set_attempt(like.attempt());
  *event.mutable_time() = like.time();
  v1::Notice& notice = *event.mutable_notice();
  notice.set_level(v1::Notice::WARNING);
  notice.set_code("EVENTS_DROPPED");
  notice.set_message(absl::StrCat(dropped_ - reported_,
                                  " metrics, samples or notices were dropped because the disk of ",
                                  dir_, " was full; the training itself is not affected"));
  std::string frame;
  AppendSpoolFrame(event.SerializeAsString(), &frame);
  RETURN_IF_ERROR(WriteFrame(frame));
  reported_ = dropped_;
  return absl::OkStatus();
}

absl::Status SpoolWriter::Append(const v1::Event& event, bool droppable) {
  const std::string payload = event.SerializeAsString();
  if (payload.empty() || payload.size() > kMaxFrameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("an event of ", payload.size(),
                                                   " bytes does not fit a spool frame (1 to ",
                                                   kMaxFrameBytes, " bytes)"));
  }
  std::string frame;
  AppendSpoolFrame(payload, &frame);
  std::lock_guard<std::mutex> lock(mutex_);
  absl::Status status = FlushBacklog();
  if (status.ok()) status = ReportDrops(event);
  if (status.ok()) status = WriteFrame(frame);
  if (status.ok() || !IsDiskFull(status)) return status;
  if (droppable) {
    ++dropped_;
    return absl::OkStatus();
  }
  const int64_t frame_bytes = static_cast<int64_t>(frame.size());
  if (backlog_bytes_ + frame_bytes > kBacklogLimitBytes) return status;
  backlog_bytes_ += frame_bytes;
  backlog_.push_back(std::move(frame));
  return absl::OkStatus();
}

absl::Status SpoolWriter::Sync() {
  std::lock_guard<std::mutex> lock(mutex_);
  RETURN_IF_ERROR(FlushBacklog());
  if (fd_.is_open() && fdatasync(fd_.get()) != 0) {
    return ErrnoStatus(errno, "sync spool segment " + SpoolSegmentPath(dir_, segment_));
  }
  return absl::OkStatus();
}

int64_t SpoolWriter::dropped() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return dropped_;
}

}  // namespace trainerd
