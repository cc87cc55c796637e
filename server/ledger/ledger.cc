// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/ledger.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/metric_values.h"
#include "proto/contract/job/names.h"
#include "server/ledger/checkpoints/best.h"
#include "server/ledger/checkpoints/checkpoint_request.h"
#include "server/ledger/checkpoints/checkpoint_uses.h"
#include "server/ledger/checkpoints/measurements.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/store/rows/event_rows.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {
namespace {

// Limits the size of a transaction: of more superseded checkpoints than this, only the newest get
// an event.
constexpr int kMaxSupersededEvents = 200;

// Stores whether a checkpoint is off the lineage, with the event; `events` counts these.
absl::Status SetSuperseded(Transaction& transaction, bool superseded, v1::Checkpoint checkpoint,
                           int* events) {
  checkpoint.set_superseded(superseded);
  if (checkpoint.deleted() || ++*events > kMaxSupersededEvents)
    return StoreCheckpoint(transaction.db(), checkpoint);
  return superseded ? RecordCheckpoint(transaction, checkpoint, v1::CheckpointEvent::SUPERSEDED,
                                       "a later attempt resumes from another checkpoint")
                    : RecordCheckpoint(transaction, checkpoint, v1::CheckpointEvent::UPDATED,
                                       "an attempt resumes from it or from a later one");
}

absl::Status SetBest(Transaction& transaction, bool best, v1::Checkpoint checkpoint,
                     const std::string& message) {
  checkpoint.set_best(best);
  return best ? RecordCheckpoint(transaction, checkpoint, v1::CheckpointEvent::BECAME_BEST, message)
              : StoreCheckpoint(transaction.db(), checkpoint);
}

// Sets Job.best_checkpoint and best_value from the rows, which are not deleted.
absl::Status UpdateBest(Transaction& transaction, const std::vector<CheckpointRow>& rows,
                        JobRecord* record) {
  v1::Job& job = record->job;
  if (!job.config().evaluation().has_best()) return absl::OkStatus();
  const v1::BestConfig& config = job.config().evaluation().best();
  const std::string before = job.best_checkpoint();
  const std::vector<std::string> ranked = RankByBest(rows, config, before);
  const std::string best = ranked.empty() ? "" : ranked.front();
  job.set_best_checkpoint(best);
  job.clear_best_value();
  for (const CheckpointRow& row : rows) {
    const std::string& name = row.checkpoint.name();
    if (name == best) job.set_best_value(*BestValue(row.checkpoint, config));
    if (best == before || (name != best && name != before)) continue;
    const std::string message =
        name == best ? absl::StrCat(config.metric(), " is ", FormatNumber(job.best_value())) : "";
    RETURN_IF_ERROR(SetBest(transaction, name == best, row.checkpoint, message));
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<v1::Checkpoint> ResumePoint(const std::vector<CheckpointRow>& rows) {
  const v1::Checkpoint* best = nullptr;
  for (const CheckpointRow& row : rows) {
    const v1::Checkpoint& c = row.checkpoint;
    if (!c.verified() || c.superseded() || c.deleted()) continue;
    if (best == nullptr ||
        std::pair(c.step(), c.attempt()) > std::pair(best->step(), best->attempt())) {
      best = &c;
    }
  }
  return best == nullptr ? std::nullopt : std::optional(*best);
}

absl::StatusOr<std::vector<RetentionItem>> PlanRetention(Connection& db, const JobRecord& record,
                                                         std::set<std::string> in_use,
                                                         absl::Time now) {
  const v1::JobConfig& config = record.job.config();
  RetentionInput input{.rules = config.checkpoint(),
                       .best = record.job.best_checkpoint(),
                       .in_use = std::move(in_use),
                       .ended = IsTerminal(record.job.state()),
                       .now = now};
  ASSIGN_OR_RETURN(input.rows,
                   ListCheckpointRows(db, JobId(record.job.name()), /*with_deleted=*/false));
  RETURN_IF_ERROR(AddCheckpointUses(db, record, &input.in_use));
  if (const std::optional<v1::Checkpoint> point = ResumePoint(input.rows); point.has_value())
    input.resume_point = point->name();
  if (config.evaluation().has_best())
    input.ranked = RankByBest(input.rows, config.evaluation().best(), input.best);
  return DecideRetention(input);
}

bool IsOnLineage(const std::vector<CheckpointRow>& rows, const std::string& parent) {
  if (parent.empty()) {
    // From the beginning: on the line unless an attempt has since gone on from another beginning's
    // checkpoints.
    return std::none_of(rows.begin(), rows.end(), [](const CheckpointRow& row) {
      return !row.checkpoint.superseded() && row.checkpoint.parent().empty();
    });
  }
  for (const CheckpointRow& row : rows) {
    if (row.checkpoint.name() == parent) return !row.checkpoint.superseded();
  }
  // A parent that is no row of this job is the checkpoint that the job began from.
  return true;
}

absl::Status RecordCheckpoint(Transaction& transaction, const v1::Checkpoint& checkpoint,
                              v1::CheckpointEvent::Kind kind, const std::string& message) {
  RETURN_IF_ERROR(StoreCheckpoint(transaction.db(), checkpoint));
  v1::Event event;
  event.set_job(checkpoint.job());
  event.set_attempt(checkpoint.attempt());
  event.mutable_checkpoint()->set_kind(kind);
  event.mutable_checkpoint()->set_message(message);
  *event.mutable_checkpoint()->mutable_checkpoint() = checkpoint;
  return transaction.Append(std::move(event));
}

absl::Status CompleteCheckpoint(Transaction& transaction, v1::Checkpoint* checkpoint,
                                JobRecord* record) {
  if (checkpoint->etag().empty()) ChangeEtag(checkpoint);
  FulfillCheckpointRequest(checkpoint, record);
  std::vector<v1::Event> events;
  RETURN_IF_ERROR(
      ReadMeasurements(transaction.db(), JobId(checkpoint->job()), [&](const v1::Event& event) {
        const int64_t step = MetricStep(event);
        if (step == checkpoint->step()) events.push_back(event);
        return step >= checkpoint->step();
      }));
  for (auto event = events.rbegin(); event != events.rend(); ++event)
    MergeMeasurements(MeasurementsOf(*event), checkpoint);
  return absl::OkStatus();
}

absl::Status FulfillByResumePoint(Transaction& transaction, JobRecord* record) {
  const std::string& name = record->job.latest_checkpoint();
  if (!record->ledger.has_checkpoint_request() || name.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                   FindCheckpoint(transaction.db(), JobId(name), CheckpointId(name)));
  if (!row.has_value() || !FulfillCheckpointRequest(&row->checkpoint, record))
    return absl::OkStatus();
  return RecordCheckpoint(transaction, row->checkpoint, v1::CheckpointEvent::UPDATED,
                          "it fulfills a RequestCheckpoint");
}

absl::Status RecordMeasurements(Transaction& transaction,
                                const std::vector<v1::Measurement>& measurements,
                                v1::Checkpoint checkpoint, JobRecord* record) {
  MergeMeasurements(measurements, &checkpoint);
  RETURN_IF_ERROR(StoreCheckpoint(transaction.db(), checkpoint));
  if (!record->job.config().evaluation().has_best()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<CheckpointRow> rows,
                   ListCheckpointRows(transaction.db(), JobId(record->job.name()),
                                      /*with_deleted=*/false));
  return UpdateBest(transaction, rows, record);
}

absl::Status MarkCorrupt(Transaction& transaction, v1::Checkpoint checkpoint,
                         const std::string& why) {
  checkpoint.set_verified(false);
  checkpoint.set_damage(why);
  return RecordCheckpoint(transaction, checkpoint, v1::CheckpointEvent::FAILED,
                          absl::StrCat("cannot be resumed from: ", why));
}

absl::StatusOr<std::optional<v1::Checkpoint>> UpdateResumePoint(Transaction& transaction,
                                                                JobRecord* record) {
  ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                   ListCheckpointRows(transaction.db(), JobId(record->job.name()),
                                      /*with_deleted=*/false));
  std::optional<v1::Checkpoint> point = ResumePoint(rows);
  record->job.set_latest_checkpoint(point ? point->name() : "");
  RETURN_IF_ERROR(UpdateBest(transaction, rows, record));
  return point;
}

absl::Status MarkCorruptInJob(Transaction& transaction, const v1::Checkpoint& checkpoint,
                              const std::string& why) {
  RETURN_IF_ERROR(MarkCorrupt(transaction, checkpoint, why));
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), JobId(checkpoint.name())));
  RETURN_IF_ERROR(UpdateResumePoint(transaction, &record).status());
  return StoreJob(transaction.db(), &record);
}

absl::StatusOr<std::string> MarkBaseCorrupt(Transaction& transaction,
                                            const v1::Checkpoint& checkpoint,
                                            const std::string& why) {
  RETURN_IF_ERROR(MarkCorruptInJob(transaction, checkpoint, why));
  const std::string job_id = JobId(checkpoint.name());
  ASSIGN_OR_RETURN(const JobRecord record, LoadJob(transaction.db(), job_id));
  ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                   ListCheckpointRows(transaction.db(), job_id, /*with_deleted=*/false));
  rows.erase(std::remove_if(rows.begin(), rows.end(),
                            [&](const CheckpointRow& row) {
                              return row.checkpoint.step() >= checkpoint.step();
                            }),
             rows.end());
  const std::optional<v1::Checkpoint> older = ResumePoint(rows);
  if (!older.has_value()) {
    const std::string advice = FinalModelAdvice(record.job.run_dir());
    return absl::StrCat("; jobs/", job_id, " has no older checkpoint to start from instead",
                        advice.empty() ? "" : "; ", advice);
  }
  return absl::StrCat("; the next older one is ", older->name(), ": `trainctl submit --from ",
                      older->name(), "`");
}

absl::Status SupersedeBeyond(Transaction& transaction, const std::string& job_id,
                             int64_t resume_step) {
  ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                   ListCheckpointRows(transaction.db(), job_id, /*with_deleted=*/false));
  int events = 0;
  for (CheckpointRow& row : rows) {
    if (row.checkpoint.superseded() || row.checkpoint.step() <= resume_step) continue;
    RETURN_IF_ERROR(SetSuperseded(transaction, true, std::move(row.checkpoint), &events));
  }
  return absl::OkStatus();
}

absl::Status MakeLineage(Transaction& transaction, const v1::Checkpoint& resume) {
  ASSIGN_OR_RETURN(
      std::vector<CheckpointRow> rows,
      ListCheckpointRows(transaction.db(), JobId(resume.name()), /*with_deleted=*/true));
  std::map<std::string, std::string> parents;
  for (const CheckpointRow& row : rows) parents[row.checkpoint.name()] = row.checkpoint.parent();
  std::set<std::string> lineage;
  // A name twice would be a cycle, which no worker writes.
  for (std::string name = resume.name(); parents.contains(name) && lineage.insert(name).second;)
    name = parents[name];
  int events = 0;
  for (CheckpointRow& row : rows) {
    const bool superseded = !lineage.contains(row.checkpoint.name());
    if (row.checkpoint.superseded() == superseded) continue;
    RETURN_IF_ERROR(SetSuperseded(transaction, superseded, std::move(row.checkpoint), &events));
  }
  return absl::OkStatus();
}

}  // namespace trainerd::server
