// SPDX-License-Identifier: Apache-2.0
// Reads an attempt's spool (written by proto/contract/run_dir/spool_writer) from a position that
// the caller stores, in the daemon together with the events.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/ingest/spool_watcher.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// Segments count from 1; `offset` is the byte offset of a frame.
struct SpoolPosition {
  int64_t segment = 1;
  int64_t offset = 0;
  friend bool operator==(const SpoolPosition&, const SpoolPosition&) = default;
};

struct SpoolBatch {
  std::vector<v1::Event> events;
  // Where the next read starts.
  SpoolPosition next;
  // Nothing more can be read now. Once the worker has exited this is the end of the spool; an
  // incomplete last frame was cut off by the worker's death.
  bool at_end = false;
  // Location of bytes that are not an event. The reader continues at the next segment if there is
  // one; otherwise it stays, and each read reports the location again.
  std::optional<std::string> corruption;
};

// Reads at most `max_events` events and about `max_bytes` (at least one event), and no further than
// the publication of a checkpoint, which adds events of its own. Without a spool the batch is empty
// and at its end. Errors: of reading files; DataLoss when the segment of `from` does
// not exist and a later one does.
absl::StatusOr<SpoolBatch> ReadSpool(const std::string& attempt_dir, SpoolPosition from,
                                     int max_events, int64_t max_bytes);

// Removes the existing segments before `before`.
absl::Status RemoveSpoolSegments(const std::string& attempt_dir, int64_t before);

}  // namespace trainerd::server
