// SPDX-License-Identifier: Apache-2.0
// What jobs have used, by UTC day. The rows of a deleted job stay, under a name that no job has.
// Each function uses the given connection: the writer's in a change, a reader's in a read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

// UTC days since 1970.
int64_t UsageDay(absl::Time time);

struct UsageRow {
  // Id; of a deleted job with "~" and a number.
  std::string job;
  int64_t day = 0;
  std::string owner;
  v1::Usage usage;
};
// Adds to what the job has used on that day.
absl::Status AddUsageRow(Connection& db, const UsageRow& row);
// Calls `take` with the rows of first_day <= day < end_day, those of one job together.
absl::Status ReadUsageRows(Connection& db, int64_t first_day, int64_t end_day,
                           const std::function<void(UsageRow)>& take);
// Before the row of a job is deleted: its usage stays.
absl::Status KeepUsageOfDeleted(Connection& db, std::string_view id);
// A configuration with the labels of the deleted job UsageRow.job alone.
absl::StatusOr<v1::JobConfig> LabelsOfDeleted(Connection& db, std::string_view job);
inline bool IsDeletedJob(std::string_view job) { return job.find('~') != job.npos; }

}  // namespace trainerd::server
