// SPDX-License-Identifier: Apache-2.0
// Rows of events, idempotency keys and meta.
// Each function uses the given connection: the writer's in a change, a reader's in a read.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/rows/event_record.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

absl::Status InsertEvent(Connection& db, const EventRecord& record);
// Events after `after`, in order; of one job unless `job_id` is empty. Returns whole changes: at
// least `limit` events if there are so many, then the rest of the last change.
absl::StatusOr<std::vector<EventRecord>> ReadEvents(Connection& db, std::string_view job_id,
                                                    int64_t after, int limit);
// A part of the log for a page.
struct EventScan {
  // Empty = all jobs.
  std::string job_id;
  // Only events beyond this one in the direction of the scan; 0 = from the end of the log.
  int64_t after = 0;
  bool descending = false;
  // Bit n = field n of Event.body; 0 = all types.
  uint64_t types = 0;
  // Events to read, of all types.
  int limit = 0;
};
// Calls `take` with each serialized event of a requested type, until it returns false. Returns the
// number of the last event before that, or at the limit; 0: there are no further events.
absl::StatusOr<int64_t> ScanEvents(Connection& db, const EventScan& scan,
                                   const std::function<bool(std::string_view bytes)>& take);
// The metrics and eval events of a job, newest first, until `take` returns false.
absl::Status ReadMeasurements(Connection& db, std::string_view job_id,
                              const std::function<bool(const v1::Event&)>& take);
absl::StatusOr<int64_t> LastSeq(Connection& db);
// Removes metrics, samples and notices of jobs that ended before `ended_before` and whose metrics
// are kept as columns; at most `limit` jobs per call. Returns the number of jobs. LostThrough then
// covers them.
absl::StatusOr<int> PruneEvents(Connection& db, absl::Time ended_before, int limit);

struct IdempotencyRow {
  std::string method, body_hash, response;
};
absl::StatusOr<std::optional<IdempotencyRow>> FindRequest(Connection& db,
                                                          std::string_view request_id);
absl::Status StoreRequest(Connection& db, std::string_view request_id, const IdempotencyRow& row,
                          absl::Time now);
absl::Status PruneRequests(Connection& db, absl::Time before);
absl::StatusOr<std::string> DatabaseId(Connection& db);
// Removes all events of a job that is being deleted. LostThrough of all jobs then covers them.
absl::Status DeleteEvents(Connection& db, std::string_view job_id);
// Sequence number of the last event that was removed; 0 = none. Of one job unless `job_id` is
// empty. Counts the types whose bit (field number of Event.body) is set in `types`; 0 = all types.
absl::StatusOr<int64_t> LostThrough(Connection& db, std::string_view job_id, uint64_t types);

}  // namespace trainerd::server
