// SPDX-License-Identifier: Apache-2.0
// Reads an attempt's spool (written by proto/contract/run_dir/spool_writer) from a position that
// the caller keeps: in the daemon, in the same transaction as the events, so that each one is
// ingested exactly once.
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

// Segments count from 1; offset is a byte offset at a frame's beginning.
struct SpoolPosition {
  int64_t segment = 1;
  int64_t offset = 0;
  friend bool operator==(const SpoolPosition&, const SpoolPosition&) = default;
};

struct SpoolBatch {
  std::vector<v1::Event> events;
  // Where to go on.
  SpoolPosition next;
  // Nothing more can be read now. Once the worker is gone this is the end of the spool: an
  // incomplete last frame was cut off by its death.
  bool at_end = false;
  // Bytes that cannot be events were met: what and where. The reader goes on at the next segment if
  // there is one, else it stays (and says so again).
  std::optional<std::string> corruption;
};

// Reads at most `max_events` events and about `max_bytes` (at least one event). No spool yet = an
// empty batch at its end. Errors: of reading files; DataLoss when the segment of `from` is gone
// while later ones exist.
absl::StatusOr<SpoolBatch> ReadSpool(const std::string& attempt_dir, SpoolPosition from,
                                     int max_events, int64_t max_bytes);

// Removes the segments before `before`; absent ones are fine.
absl::Status RemoveSpoolSegments(const std::string& attempt_dir, int64_t before);

}  // namespace trainerd::server
