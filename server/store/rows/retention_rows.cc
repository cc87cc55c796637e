// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/retention_rows.h"

#include <algorithm>

#include "proto/base/status_macros.h"

namespace trainerd::server {
namespace {

absl::StatusOr<std::vector<std::string>> ReadTexts(Query& query) {
  std::vector<std::string> texts;
  while (query.Step()) texts.emplace_back(query.Text(0));
  RETURN_IF_ERROR(query.status());
  return texts;
}

}  // namespace

absl::Status StoreDueTime(Connection& db, std::string_view job_id, std::string_view checkpoint_id,
                          absl::Time due) {
  // A time before 1970 is past, too; 0 stands for none.
  const int64_t micros =
      due == absl::InfiniteFuture() ? 0 : std::max<int64_t>(absl::ToUnixMicros(due), 1);
  Query query(db, "UPDATE checkpoints SET due = ?1 WHERE job = ?2 AND id = ?3 AND due != ?1");
  return query.Bind(micros).Bind(job_id).Bind(checkpoint_id).Run();
}

absl::StatusOr<std::vector<std::string>> JobsWithDueCheckpoints(Connection& db, absl::Time now,
                                                                int limit) {
  Query query(db,
              "SELECT DISTINCT job FROM checkpoints WHERE deleted = 0 AND due > 0 AND due <= ? "
              "LIMIT ?");
  query.Bind(absl::ToUnixMicros(now)).Bind(limit);
  return ReadTexts(query);
}

absl::StatusOr<std::vector<std::string>> JobsWithFiles(Connection& db) {
  Query query(db,
              "SELECT job FROM checkpoints WHERE deleted = 0 UNION SELECT job FROM "
              "checkpoint_removals ORDER BY job");
  return ReadTexts(query);
}

absl::Status StoreRemoval(Connection& db, std::string_view job_id, std::string_view checkpoint_id) {
  Query query(db, "INSERT OR IGNORE INTO checkpoint_removals (job, id) VALUES (?, ?)");
  return query.Bind(job_id).Bind(checkpoint_id).Run();
}

absl::Status DeleteRemoval(Connection& db, std::string_view job_id,
                           std::string_view checkpoint_id) {
  Query query(db, "DELETE FROM checkpoint_removals WHERE job = ? AND id = ?");
  return query.Bind(job_id).Bind(checkpoint_id).Run();
}

absl::StatusOr<std::vector<std::string>> ListRemovals(Connection& db, std::string_view job_id) {
  Query query(db, "SELECT id FROM checkpoint_removals WHERE job = ? ORDER BY id");
  query.Bind(job_id);
  return ReadTexts(query);
}

absl::StatusOr<std::vector<std::string>> JobsWithRemovals(Connection& db) {
  Query query(db, "SELECT DISTINCT job FROM checkpoint_removals ORDER BY job");
  return ReadTexts(query);
}

absl::StatusOr<std::set<std::string>> ListDownloads(Connection& db) {
  Query query(db, "SELECT model FROM downloads");
  std::set<std::string> models;
  while (query.Step()) models.emplace(query.Text(0));
  RETURN_IF_ERROR(query.status());
  return models;
}

absl::Status AddDownload(Connection& db, std::string_view model) {
  Query query(db, "INSERT OR IGNORE INTO downloads (model) VALUES (?)");
  return query.Bind(model).Run();
}

absl::Status RemoveDownload(Connection& db, std::string_view model) {
  Query query(db, "DELETE FROM downloads WHERE model = ?");
  return query.Bind(model).Run();
}

}  // namespace trainerd::server
