// SPDX-License-Identifier: Apache-2.0
// Rows of uploads, and of the jobs that name them.
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

namespace trainerd::server {

struct FileRow {
  int64_t number = 0;  // order of upload; 0 = not stored yet
  std::string sha256;  // 64 hexadecimal digits
  int64_t size_bytes = 0;
  bool complete = false;
  std::string display_name;
  std::string owner;
  absl::Time create_time;
  std::optional<absl::Time> last_use_time;
  // Of Store::SteadyNow: when an incomplete upload got its last bytes.
  absl::Time write_time;
};
absl::StatusOr<std::optional<FileRow>> FindFile(Connection& db, std::string_view sha256);
absl::Status InsertFile(Connection& db, const FileRow& row);
absl::Status SetFileComplete(Connection& db, std::string_view sha256);
absl::Status SetFileWriteTime(Connection& db, std::string_view sha256, absl::Time time);
absl::Status DeleteFileRow(Connection& db, std::string_view sha256);

struct FileQuery {
  std::string owner = "";     // empty = all
  int64_t before_number = 0;  // only older ones; 0 = from the newest
  int limit = 100;
};
// Newest first.
absl::StatusOr<std::vector<FileRow>> ListFileRows(Connection& db, const FileQuery& query);
// Of all uploads, incomplete ones with their full size.
absl::StatusOr<int64_t> TotalFileBytes(Connection& db);
// Incomplete uploads without a new byte since `before`, a time of Store::SteadyNow.
absl::StatusOr<std::vector<std::string>> AbandonedFiles(Connection& db, absl::Time before);

// Records that the job names the file.
absl::Status StoreFileUse(Connection& db, std::string_view job_id, std::string_view sha256,
                          absl::Time now);
// A job that is not terminal and names the file; nullopt = there is none.
absl::StatusOr<std::optional<std::string>> UserOfFile(Connection& db, std::string_view sha256);

}  // namespace trainerd::server
