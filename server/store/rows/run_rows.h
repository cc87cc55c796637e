// SPDX-License-Identifier: Apache-2.0
// Rows of attempts, their spool positions, and checkpoints (the ledger).
// Each function uses the given connection: the writer's in a change, a reader's in a read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/checkpoint.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

absl::StatusOr<v1::Attempt> LoadAttempt(Connection& db, std::string_view job_id, int number);
// Texts that are too long are cut (cut_message.h); the same holds for StoreCheckpoint.
absl::Status StoreAttempt(Connection& db, v1::Attempt attempt);
absl::StatusOr<std::vector<v1::Attempt>> ListAttemptRows(Connection& db, std::string_view job_id,
                                                         int after_number, int limit);
absl::StatusOr<std::vector<v1::Attempt>> ListOpenAttempts(Connection& db);
absl::StatusOr<int64_t> CountOpenAttempts(Connection& db);

struct SpoolRow {
  int64_t segment = 1;
  int64_t offset = 0;
};
absl::StatusOr<SpoolRow> LoadSpoolPosition(Connection& db, std::string_view job_id, int attempt);
absl::Status StoreSpoolPosition(Connection& db, std::string_view job_id, int attempt,
                                const SpoolRow& row);

struct CheckpointRow {
  int64_t number = 0;  // order of publication; 0 = not stored yet
  v1::Checkpoint checkpoint;
};
absl::StatusOr<std::optional<CheckpointRow>> FindCheckpoint(Connection& db, std::string_view job_id,
                                                            std::string_view id);
absl::Status StoreCheckpoint(Connection& db, v1::Checkpoint checkpoint);
// The newest one of this step that is neither deleted nor superseded.
absl::StatusOr<std::optional<CheckpointRow>> FindCheckpointOfStep(Connection& db,
                                                                  std::string_view job_id,
                                                                  int64_t step);
// Newest first.
absl::StatusOr<std::vector<CheckpointRow>> ListCheckpointRows(Connection& db,
                                                              std::string_view job_id,
                                                              bool with_deleted);

struct CheckpointQuery {
  // Empty: of all jobs.
  std::string job_id;
  bool with_deleted = false;
  int64_t before_number = 0;  // only older ones; 0 = from the newest
  int limit = 100;
};
// Newest first.
absl::StatusOr<std::vector<CheckpointRow>> ListCheckpointRows(Connection& db,
                                                              const CheckpointQuery& query);

}  // namespace trainerd::server
