// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/file_rows.h"

#include <limits>
#include <utility>

#include "proto/base/status_macros.h"

namespace trainerd::server {
namespace {

FileRow ReadRow(const Query& query) {
  FileRow row{.number = query.Int(0),
              .sha256 = std::string(query.Text(1)),
              .size_bytes = query.Int(2),
              .complete = query.Int(3) != 0,
              .display_name = std::string(query.Text(4)),
              .owner = std::string(query.Text(5)),
              .create_time = absl::FromUnixMicros(query.Int(6)),
              .last_use_time = std::nullopt,
              .write_time = absl::FromUnixMicros(query.Int(8))};
  if (query.Int(7) != 0) row.last_use_time = absl::FromUnixMicros(query.Int(7));
  return row;
}

}  // namespace

absl::StatusOr<std::optional<FileRow>> FindFile(Connection& db, std::string_view sha256) {
  Query query(db,
              "SELECT number, sha256, size_bytes, complete, display_name, owner, create_time, "
              "last_use_time, write_time FROM files WHERE sha256 = ?");
  if (query.Bind(sha256).Step()) return std::optional<FileRow>(ReadRow(query));
  RETURN_IF_ERROR(query.status());
  return std::optional<FileRow>();
}

absl::Status InsertFile(Connection& db, const FileRow& row) {
  Query query(db,
              "INSERT INTO files (sha256, size_bytes, complete, display_name, owner, create_time, "
              "last_use_time, write_time) VALUES (?, ?, ?, ?, ?, ?, 0, ?)");
  return query.Bind(row.sha256)
      .Bind(row.size_bytes)
      .Bind(row.complete ? 1 : 0)
      .Bind(row.display_name)
      .Bind(row.owner)
      .Bind(absl::ToUnixMicros(row.create_time))
      .Bind(absl::ToUnixMicros(row.write_time))
      .Run();
}

absl::Status SetFileComplete(Connection& db, std::string_view sha256) {
  Query query(db, "UPDATE files SET complete = 1 WHERE sha256 = ?");
  return query.Bind(sha256).Run();
}

absl::Status SetFileWriteTime(Connection& db, std::string_view sha256, absl::Time time) {
  Query query(db, "UPDATE files SET write_time = ? WHERE sha256 = ?");
  return query.Bind(absl::ToUnixMicros(time)).Bind(sha256).Run();
}

absl::Status DeleteFileRow(Connection& db, std::string_view sha256) {
  Query query(db, "DELETE FROM files WHERE sha256 = ?");
  RETURN_IF_ERROR(query.Bind(sha256).Run());
  Query uses(db, "DELETE FROM file_uses WHERE sha256 = ?");
  return uses.Bind(sha256).Run();
}

absl::StatusOr<std::vector<FileRow>> ListFileRows(Connection& db, const FileQuery& query) {
  Query select(db,
               "SELECT number, sha256, size_bytes, complete, display_name, owner, create_time, "
               "last_use_time, write_time FROM files WHERE number < ?1 AND (?2 = '' OR owner = ?2) "
               "ORDER BY number DESC LIMIT ?3");
  const int64_t before =
      query.before_number > 0 ? query.before_number : std::numeric_limits<int64_t>::max();
  select.Bind(before).Bind(query.owner).Bind(query.limit);
  std::vector<FileRow> rows;
  while (select.Step()) rows.push_back(ReadRow(select));
  RETURN_IF_ERROR(select.status());
  return rows;
}

absl::StatusOr<int64_t> TotalFileBytes(Connection& db) {
  Query query(db, "SELECT coalesce(sum(size_bytes), 0) FROM files");
  const bool row = query.Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

absl::StatusOr<std::vector<std::string>> AbandonedFiles(Connection& db, absl::Time before) {
  Query query(db, "SELECT sha256 FROM files WHERE complete = 0 AND write_time < ?");
  query.Bind(absl::ToUnixMicros(before));
  std::vector<std::string> files;
  while (query.Step()) files.emplace_back(query.Text(0));
  RETURN_IF_ERROR(query.status());
  return files;
}

absl::Status StoreFileUse(Connection& db, std::string_view job_id, std::string_view sha256,
                          absl::Time now) {
  Query use(db, "INSERT OR IGNORE INTO file_uses (job, sha256) VALUES (?, ?)");
  RETURN_IF_ERROR(use.Bind(job_id).Bind(sha256).Run());
  Query query(db, "UPDATE files SET last_use_time = ? WHERE sha256 = ?");
  return query.Bind(absl::ToUnixMicros(now)).Bind(sha256).Run();
}

absl::StatusOr<std::optional<std::string>> UserOfFile(Connection& db, std::string_view sha256) {
  Query query(db,
              "SELECT jobs.id FROM file_uses JOIN jobs ON jobs.id = file_uses.job "
              "WHERE file_uses.sha256 = ? AND jobs.end_time = 0 LIMIT 1");
  const bool row = query.Bind(sha256).Step();
  RETURN_IF_ERROR(query.status());
  return row ? std::optional(std::string(query.Text(0))) : std::nullopt;
}

}  // namespace trainerd::server
