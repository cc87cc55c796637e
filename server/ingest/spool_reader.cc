// SPDX-License-Identifier: Apache-2.0
// Checks whether the next segment exists before it reads the current one. If the next one exists,
// the current one is complete, so an incomplete frame in it was cut off.
#include "server/ingest/spool_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/framing.h"
#include "proto/contract/run_dir/spool_writer.h"

namespace trainerd::server {
namespace {

constexpr int64_t kReadBytes = 256 << 10;
// Room for one frame of the largest size.
constexpr int64_t kLargestRead = static_cast<int64_t>(kMaxFrameBytes) + 8;

// Up to `bytes` bytes at `offset`; fewer at the end of the file.
absl::StatusOr<std::string> ReadAt(int fd, int64_t offset, int64_t bytes, const std::string& path) {
  std::string buffer(static_cast<size_t>(bytes), '\0');
  size_t filled = 0;
  while (filled < buffer.size()) {
    const ssize_t n = pread(fd, buffer.data() + filled, buffer.size() - filled,
                            offset + static_cast<int64_t>(filled));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "read " + path);
    if (n == 0) break;
    filled += static_cast<size_t>(n);
  }
  buffer.resize(filled);
  return buffer;
}

enum class SegmentEnd {
  // A limit was reached.
  kMore,
  // Read to its end.
  kClean,
  // The last frame is incomplete.
  kIncomplete,
  kCorrupt,
};

bool EndsAtCheckpoint(const SpoolBatch& batch) {
  return !batch.events.empty() &&
         batch.events.back().checkpoint().kind() == v1::CheckpointEvent::PUBLISHED;
}

// Appends the complete frames at the start of `buffer` to the batch. kClean: every byte belongs to
// a frame.
SegmentEnd TakeFrames(const std::string& buffer, int max_events, int64_t* bytes_left,
                      SpoolBatch* batch) {
  size_t position = 0;
  while (position < buffer.size()) {
    const bool enough = static_cast<int>(batch->events.size()) >= max_events ||
                        (*bytes_left <= 0 && !batch->events.empty()) || EndsAtCheckpoint(*batch);
    if (enough) return SegmentEnd::kMore;
    const SpoolFrame frame = ReadSpoolFrame(buffer, position);
    if (frame.kind == SpoolFrame::Kind::kIncomplete) return SegmentEnd::kIncomplete;
    v1::Event event;
    if (frame.kind == SpoolFrame::Kind::kCorrupt ||
        !event.ParseFromArray(frame.payload.data(), static_cast<int>(frame.payload.size()))) {
      return SegmentEnd::kCorrupt;
    }
    batch->events.push_back(std::move(event));
    batch->next.offset += static_cast<int64_t>(frame.next_offset - position);
    *bytes_left -= static_cast<int64_t>(frame.next_offset - position);
    position = frame.next_offset;
  }
  return SegmentEnd::kClean;
}

// Reads frames of one open segment into `batch` until a limit, an error, or the size that the
// segment has at the start of the call.
absl::StatusOr<SegmentEnd> ReadSegment(int fd, const std::string& path, int max_events,
                                       int64_t* bytes_left, SpoolBatch* batch) {
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat " + path);
  int64_t chunk = kReadBytes;
  while (batch->next.offset < info.st_size) {
    const int64_t left = info.st_size - batch->next.offset;
    ASSIGN_OR_RETURN(const std::string buffer,
                     ReadAt(fd, batch->next.offset, std::min(left, chunk), path));
    const int64_t before = batch->next.offset;
    const SegmentEnd end = TakeFrames(buffer, max_events, bytes_left, batch);
    if (end == SegmentEnd::kMore || end == SegmentEnd::kCorrupt) return end;
    if (end == SegmentEnd::kIncomplete) {
      if (static_cast<int64_t>(buffer.size()) == left) return SegmentEnd::kIncomplete;
      // The chunk ends inside a frame. A frame that exceeds the chunk needs a larger read.
      if (batch->next.offset == before) chunk = kLargestRead;
    }
    if (buffer.empty()) break;
  }
  return SegmentEnd::kClean;
}

}  // namespace

absl::StatusOr<SpoolBatch> ReadSpool(const std::string& attempt_dir, SpoolPosition from,
                                     int max_events, int64_t max_bytes) {
  SpoolBatch batch;
  batch.next = from;
  int64_t bytes_left = max_bytes;
  while (true) {
    const std::string path = SpoolSegmentPath(attempt_dir, batch.next.segment);
    const bool has_next = PathExists(SpoolSegmentPath(attempt_dir, batch.next.segment + 1));
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      if (errno != ENOENT) return ErrnoStatus(errno, "open " + path);
      if (has_next) {
        return absl::DataLossError(path + " does not exist, but later segments of the spool do");
      }
      batch.at_end = true;
      return batch;
    }
    absl::StatusOr<SegmentEnd> end = ReadSegment(fd, path, max_events, &bytes_left, &batch);
    close(fd);
    if (!end.ok()) return end.status();
    if (*end == SegmentEnd::kMore) return batch;
    if (*end == SegmentEnd::kCorrupt || (*end == SegmentEnd::kIncomplete && has_next)) {
      batch.corruption = absl::StrCat(path, " has no complete event at byte ", batch.next.offset,
                                      has_next ? "; continuing with the next segment" : "");
    }
    if (!has_next) {
      batch.at_end = true;
      return batch;
    }
    batch.next = {.segment = batch.next.segment + 1, .offset = 0};
    // One error per batch, so that the caller can report each.
    if (batch.corruption.has_value()) return batch;
  }
}

absl::Status RemoveSpoolSegments(const std::string& attempt_dir, int64_t before) {
  absl::StatusOr<std::vector<std::string>> names = ListDirectory(attempt_dir);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  if (!names.ok()) return names.status();
  constexpr char kPrefix[] = "spool.";
  for (const std::string& name : *names) {
    if (name.compare(0, std::strlen(kPrefix), kPrefix) != 0) continue;
    char* end = nullptr;
    const long long segment = std::strtoll(name.c_str() + std::strlen(kPrefix), &end, 10);
    if (*end != '\0' || segment < 1 || segment >= before) continue;
    const std::string path = attempt_dir + "/" + name;
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, "remove " + path);
  }
  return absl::OkStatus();
}

}  // namespace trainerd::server
