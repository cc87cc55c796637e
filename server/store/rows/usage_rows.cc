// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/usage_rows.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/usage.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {
namespace {

absl::StatusOr<v1::Usage> ParseUsage(std::string_view bytes) {
  v1::Usage usage;
  if (usage.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return usage;
  return absl::DataLossError("a row of usage_days does not parse");
}

}  // namespace

int64_t UsageDay(absl::Time time) {
  return absl::ToCivilDay(time, absl::UTCTimeZone()) - absl::CivilDay(1970, 1, 1);
}

absl::Status AddUsageRow(Connection& db, const UsageRow& row) {
  v1::Usage sum = row.usage;
  {
    Query before(db, "SELECT usage FROM usage_days WHERE job = ? AND day = ?");
    if (before.Bind(row.job).Bind(row.day).Step()) {
      ASSIGN_OR_RETURN(const v1::Usage usage, ParseUsage(before.Blob(0)));
      AddUsage(usage, &sum);
    }
    RETURN_IF_ERROR(before.status());
  }
  Query query(db, "INSERT OR REPLACE INTO usage_days (job, day, owner, usage) VALUES (?, ?, ?, ?)");
  return query.Bind(row.job).Bind(row.day).Bind(row.owner).BindBlob(sum.SerializeAsString()).Run();
}

absl::Status ReadUsageRows(Connection& db, int64_t first_day, int64_t end_day,
                           const std::function<void(UsageRow)>& take) {
  Query query(db,
              "SELECT job, day, owner, usage FROM usage_days WHERE day >= ? AND day < ? ORDER BY "
              "job, day");
  query.Bind(first_day).Bind(end_day);
  while (query.Step()) {
    ASSIGN_OR_RETURN(v1::Usage usage, ParseUsage(query.Blob(3)));
    take({.job = std::string(query.Text(0)),
          .day = query.Int(1),
          .owner = std::string(query.Text(2)),
          .usage = std::move(usage)});
  }
  return query.status();
}

absl::Status KeepUsageOfDeleted(Connection& db, std::string_view id) {
  {
    Query used(db, "SELECT 1 FROM usage_days WHERE job = ? LIMIT 1");
    const bool any = used.Bind(id).Step();
    RETURN_IF_ERROR(used.status());
    if (!any) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, id));
  v1::JobConfig labels;
  *labels.mutable_labels() = record.job.config().labels();
  // The newest event is a later one than when an earlier job of this id was deleted.
  ASSIGN_OR_RETURN(const int64_t seq, LastSeq(db));
  const std::string kept = absl::StrCat(std::string(id), "~", seq);
  Query store(db, "INSERT INTO usage_labels (job, labels) VALUES (?, ?)");
  RETURN_IF_ERROR(store.Bind(kept).BindBlob(labels.SerializeAsString()).Run());
  Query rename(db, "UPDATE usage_days SET job = ? WHERE job = ?");
  return rename.Bind(kept).Bind(id).Run();
}

absl::StatusOr<v1::JobConfig> LabelsOfDeleted(Connection& db, std::string_view job) {
  v1::JobConfig labels;
  Query query(db, "SELECT labels FROM usage_labels WHERE job = ?");
  if (query.Bind(job).Step()) {
    const std::string_view bytes = query.Blob(0);
    if (!labels.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      return absl::DataLossError("a row of usage_labels does not parse");
  }
  RETURN_IF_ERROR(query.status());
  return labels;
}

}  // namespace trainerd::server
