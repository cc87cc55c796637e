// SPDX-License-Identifier: Apache-2.0
// Stores a batch of a worker's events: the events themselves, the job's progress and state, the
// ledger of checkpoints and the spool position change in one transaction, so that each event is
// ingested exactly once.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/store/rows/run_rows.h"
#include "server/store/writer.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// Leave room in one transaction for the events that ingesting adds.
constexpr int kMaxIngestEvents = 128;
constexpr int64_t kMaxIngestBytes = 192 * 1024;

struct IngestBatch {
  std::string job;  // jobs/{id}
  int attempt = 0;
  std::vector<v1::Event> events;
  SpoolRow next;
};

// Errors: of the database. Nothing is stored then; the caller repeats the batch.
absl::Status IngestEvents(Transaction& transaction, const IngestBatch& batch);

}  // namespace trainerd::server
