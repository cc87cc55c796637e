// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/dependency_rows.h"

#include "proto/base/status_macros.h"
#include "proto/contract/job/job_state.h"

namespace trainerd::server {

absl::Status StoreDependency(Connection& db, const DependencyRow& row) {
  Query query(db, "INSERT OR IGNORE INTO dependencies (on_job, condition, job) VALUES (?, ?, ?)");
  return query.Bind(row.on_job).Bind(row.condition).Bind(row.job).Run();
}

absl::Status DeleteDependency(Connection& db, const DependencyRow& row) {
  Query query(db, "DELETE FROM dependencies WHERE on_job = ? AND condition = ? AND job = ?");
  return query.Bind(row.on_job).Bind(row.condition).Bind(row.job).Run();
}

absl::Status NoteForDependents(Connection& db, std::string_view id, const v1::Job& job) {
  if (IsTerminal(job.state())) {
    Query query(db,
                "INSERT OR IGNORE INTO dependency_news SELECT on_job FROM dependencies WHERE "
                "on_job = ? LIMIT 1");
    return query.Bind(id).Run();
  }
  if (job.latest_checkpoint().empty()) return absl::OkStatus();
  Query query(db,
              "INSERT OR IGNORE INTO dependency_news SELECT on_job FROM dependencies WHERE on_job "
              "= ? AND condition = ? LIMIT 1");
  return query.Bind(id).Bind(v1::DependencyConfig::CONDITION_CHECKPOINT).Run();
}

absl::StatusOr<std::optional<std::string>> FirstNote(Connection& db) {
  Query query(db, "SELECT on_job FROM dependency_news LIMIT 1");
  const bool row = query.Step();
  RETURN_IF_ERROR(query.status());
  return row ? std::optional(std::string(query.Text(0))) : std::nullopt;
}

absl::Status DeleteNote(Connection& db, std::string_view on_job) {
  Query query(db, "DELETE FROM dependency_news WHERE on_job = ?");
  return query.Bind(on_job).Run();
}

absl::StatusOr<std::vector<std::string>> ListDependents(Connection& db, std::string_view on_job,
                                                        bool for_checkpoint, int limit) {
  static_assert(v1::DependencyConfig::Condition_MAX == v1::DependencyConfig::CONDITION_CHECKPOINT);
  Query query(db,
              "SELECT DISTINCT job FROM dependencies WHERE on_job = ? AND condition >= ? LIMIT ?");
  query.Bind(on_job)
      .Bind(for_checkpoint ? v1::DependencyConfig::CONDITION_CHECKPOINT
                           : v1::DependencyConfig::CONDITION_UNSPECIFIED)
      .Bind(limit);
  std::vector<std::string> ids;
  while (query.Step()) ids.emplace_back(query.Text(0));
  RETURN_IF_ERROR(query.status());
  return ids;
}

}  // namespace trainerd::server
