// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/evaluations/result.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/alerts.h"
#include "proto/contract/job/names.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/ledger/evaluations/regression.h"
#include "server/ledger/ledger.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

constexpr char kAlert[] = "evaluation_regression";

// Null: it is not active.
const v1::Alert* ActiveAlert(const v1::Job& job) {
  for (const v1::Alert& alert : job.alerts()) {
    if (alert.type() == kAlert && alert.active()) return &alert;
  }
  return nullptr;
}

absl::Status SetAlert(Transaction& transaction, const v1::Alert& alert, JobRecord* record) {
  ApplyAlert(alert, &record->job);
  RETURN_IF_ERROR(StoreJob(transaction.db(), record));
  v1::Event event;
  event.set_job(record->job.name());
  *event.mutable_alert() = alert;
  return transaction.Append(std::move(event));
}

absl::Status Raise(Transaction& transaction, const EvaluationRecord& evaluation,
                   const Regression& regression, JobRecord* record) {
  v1::Alert alert;
  alert.set_type(kAlert);
  alert.set_active(true);
  alert.set_severity(v1::Alert::WARNING);
  alert.set_step(evaluation.evaluation.step());
  alert.set_value(regression.result.value());
  alert.set_threshold(regression.bound);
  alert.set_message(absl::StrCat("remote.", evaluation.entry, ".", RegressionText(regression)));
  record->ledger.set_regression_entry(evaluation.entry);
  return SetAlert(transaction, alert, record);
}

absl::Status Clear(Transaction& transaction, const EvaluationRecord& evaluation,
                   JobRecord* record) {
  v1::Alert alert;
  alert.set_type(kAlert);
  alert.set_active(false);
  alert.set_severity(v1::Alert::WARNING);
  alert.set_step(evaluation.evaluation.step());
  alert.set_message(absl::StrCat("no metric of ", evaluation.evaluation.name(), " is worse"));
  record->ledger.clear_regression_entry();
  return SetAlert(transaction, alert, record);
}

// Adds the metrics to those of the checkpoint, and with them decides which one is the best.
absl::Status AddToCheckpoint(Transaction& transaction, const EvaluationRecord& evaluation,
                             JobRecord* record) {
  const v1::Evaluation& result = evaluation.evaluation;
  const std::string id = CheckpointId(result.model());
  // The names of entries are those of one job.
  if (id.empty() || JobId(result.model()) != JobId(result.job())) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                   FindCheckpoint(transaction.db(), JobId(result.job()), id));
  if (!row.has_value()) return absl::OkStatus();
  std::vector<v1::Measurement> metrics(result.metrics().begin(), result.metrics().end());
  for (v1::Measurement& metric : metrics)
    metric.set_name(absl::StrCat("remote.", evaluation.entry, ".", metric.name()));
  RETURN_IF_ERROR(RecordMeasurements(transaction, metrics, std::move(row->checkpoint), record));
  return StoreJob(transaction.db(), record);
}

}  // namespace

absl::Status RecordResult(Transaction& transaction, const EvaluationRecord& evaluation) {
  const v1::Evaluation& result = evaluation.evaluation;
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), JobId(result.job())));
  RETURN_IF_ERROR(AddToCheckpoint(transaction, evaluation, &record));
  const std::string start = StartModel(record.job);
  if (result.model() == start) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<v1::Measurement> earlier,
                   EarlierResults(transaction.db(), evaluation));
  std::vector<v1::Measurement> references = BestOfEach(earlier);
  ASSIGN_OR_RETURN(const std::vector<v1::Measurement> of_start,
                   ModelResults(transaction.db(), start, evaluation));
  references.insert(references.end(), of_start.begin(), of_start.end());
  const std::optional<Regression> regression =
      FindRegression({result.metrics().begin(), result.metrics().end()}, references);
  const v1::Alert* active = ActiveAlert(record.job);
  const bool of_entry = active != nullptr && record.ledger.regression_entry() == evaluation.entry;
  if (regression.has_value())
    return of_entry ? absl::OkStatus() : Raise(transaction, evaluation, *regression, &record);
  // The late result of an earlier step says nothing about the step that raised the alert.
  if (!of_entry || result.step() < active->step()) return absl::OkStatus();
  return Clear(transaction, evaluation, &record);
}

}  // namespace trainerd::server
