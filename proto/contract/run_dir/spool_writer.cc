// SPDX-License-Identifier: Apache-2.0
// Spool segments are written with pwrite at a known size: a short write is cut off again, so that a
// reader never meets half a frame in the middle.
#include "proto/contract/run_dir/spool_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/framing.h"

namespace trainerd {
namespace {

constexpr char kPrefix[] = "spool.";
constexpr int64_t kBacklogLimitBytes = 1 << 20;

// Highest segment in `dir`, 0 = none.
absl::StatusOr<int64_t> LastSegment(const std::string& dir) {
  DIR* listing = opendir(dir.c_str());
  if (listing == nullptr) return ErrnoStatus(errno, "spool folder " + dir);
  int64_t last = 0;
  while (const dirent* entry = readdir(listing)) {
    if (std::strncmp(entry->d_name, kPrefix, sizeof(kPrefix) - 1) != 0) continue;
    char* end = nullptr;
    const long long number = std::strtoll(entry->d_name + sizeof(kPrefix) - 1, &end, 10);
    if (*end == '\0') last = std::max<int64_t>(last, number);
  }
  closedir(listing);
  return last;
}

bool IsDiskFull(const absl::Status& status) { return absl::IsResourceExhausted(status); }

}  // namespace

std::string SpoolSegmentPath(const std::string& dir, int64_t segment) {
  char name[40];
  std::snprintf(name, sizeof(name), "/spool.%06lld", static_cast<long long>(segment));
  return dir + name;
}

absl::StatusOr<std::unique_ptr<SpoolWriter>> SpoolWriter::Open(const std::string& dir,
                                                               int64_t segment_bytes) {
  if (segment_bytes <= 0) segment_bytes = kDefaultSpoolSegmentBytes;
  ASSIGN_OR_RETURN(const int64_t last, LastSegment(dir));
  std::unique_ptr<SpoolWriter> writer(new SpoolWriter(dir, segment_bytes));
  RETURN_IF_ERROR(writer->OpenSegment(last + 1));
  return writer;
}

SpoolWriter::~SpoolWriter() {
  if (fd_ >= 0) close(fd_);
}

absl::Status SpoolWriter::OpenSegment(int64_t segment) {
  const std::string path = SpoolSegmentPath(dir_, segment);
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "create spool segment " + path);
  // A reader moves to the next segment once it exists, so the old segment becomes durable first.
  // The new segment is in use even if that fails.
  int error = 0;
  if (fd_ >= 0) {
    if (fdatasync(fd_) != 0) error = errno;
    close(fd_);
  }
  fd_ = fd;
  segment_ = segment;
  size_ = 0;
  if (error != 0) return ErrnoStatus(error, "sync the spool segment before " + path);
  return FsyncPath(dir_);
}

absl::Status SpoolWriter::WriteFrame(const std::string& frame) {
  const int64_t frame_bytes = static_cast<int64_t>(frame.size());
  if (fd_ < 0 || (size_ > 0 && size_ + frame_bytes > segment_bytes_)) {
    RETURN_IF_ERROR(OpenSegment(segment_ + 1));
  }
  int64_t written = 0;
  while (written < frame_bytes) {
    const ssize_t n = pwrite(fd_, frame.data() + written, frame.size() - written, size_ + written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n < 0 ? errno : ENOSPC;
      if (written > 0 && ftruncate(fd_, size_) != 0) {
        // The tail cannot be truncated: it stays as an incomplete frame, and a new segment follows.
        close(fd_);
        fd_ = -1;
      }
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
  if (fd_ >= 0 && fdatasync(fd_) != 0) {
    return ErrnoStatus(errno, "sync spool segment " + SpoolSegmentPath(dir_, segment_));
  }
  return absl::OkStatus();
}

int64_t SpoolWriter::dropped() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return dropped_;
}

}  // namespace trainerd
