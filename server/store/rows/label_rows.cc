// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/label_rows.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::server {
namespace {

absl::Status StoreChange(Connection& db, std::string_view job_id, int64_t seq,
                         const LabelMap& before) {
  v1::JobConfig config;
  *config.mutable_labels() = before;
  Query query(db, "INSERT INTO label_changes (job, seq, labels) VALUES (?, ?, ?)");
  return query.Bind(job_id).Bind(seq).BindBlob(config.SerializeAsString()).Run();
}

absl::Status DeleteLabels(Connection& db, int64_t number) {
  Query query(db, "DELETE FROM job_labels WHERE number = ?");
  return query.Bind(number).Run();
}

absl::StatusOr<int64_t> NumberOf(Connection& db, std::string_view job_id) {
  Query query(db, "SELECT number FROM jobs WHERE id = ?");
  const bool row = query.Bind(job_id).Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

}  // namespace

absl::Status StoreLabels(Connection& db, int64_t number, const LabelMap& labels) {
  for (const auto& [key, value] : labels) {
    Query query(db, "INSERT INTO job_labels (number, key, value) VALUES (?, ?, ?)");
    RETURN_IF_ERROR(query.Bind(number).Bind(key).Bind(value).Run());
  }
  return absl::OkStatus();
}

absl::StatusOr<LabelMap> LoadLabels(Connection& db, std::string_view job_id) {
  Query query(db,
              "SELECT key, value FROM job_labels WHERE number = (SELECT number FROM jobs WHERE id "
              "= ?)");
  query.Bind(job_id);
  LabelMap labels;
  while (query.Step()) labels[std::string(query.Text(0))] = std::string(query.Text(1));
  RETURN_IF_ERROR(query.status());
  return labels;
}

absl::Status ChangeLabels(Connection& db, std::string_view job_id, int64_t seq,
                          const LabelMap& before, const LabelMap& after) {
  ASSIGN_OR_RETURN(const int64_t number, NumberOf(db, job_id));
  RETURN_IF_ERROR(DeleteLabels(db, number));
  RETURN_IF_ERROR(StoreLabels(db, number, after));
  return StoreChange(db, job_id, seq, before);
}

absl::Status CloseLabels(Connection& db, std::string_view job_id, int64_t seq) {
  ASSIGN_OR_RETURN(const LabelMap labels, LoadLabels(db, job_id));
  // The events of the job are deleted, too, but for the last one.
  Query query(db, "DELETE FROM label_changes WHERE job = ?");
  RETURN_IF_ERROR(query.Bind(job_id).Run());
  return labels.empty() ? absl::OkStatus() : StoreChange(db, job_id, seq + 1, labels);
}

const LabelMap& LabelHistory::At(int64_t seq) const {
  const auto change = before.upper_bound(seq);
  return change == before.end() ? current : change->second;
}

absl::StatusOr<LabelHistory> ReadLabelHistory(Connection& db, std::string_view job_id) {
  LabelHistory history;
  ASSIGN_OR_RETURN(history.current, LoadLabels(db, job_id));
  Query query(db, "SELECT seq, labels FROM label_changes WHERE job = ?");
  query.Bind(job_id);
  while (query.Step()) {
    v1::JobConfig config;
    const std::string_view bytes = query.Blob(1);
    if (!config.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      return absl::DataLossError("a row of label_changes does not parse");
    history.before[query.Int(0)] = config.labels();
  }
  RETURN_IF_ERROR(query.status());
  return history;
}

}  // namespace trainerd::server
