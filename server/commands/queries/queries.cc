// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/queries.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/commands/paging.h"
#include "server/commands/queries/list_events.h"
#include "server/commands/queries/list_jobs.h"
#include "server/commands/request.h"
#include "server/events/cursor.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/store/errors.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/label_rows.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

// Jobs per message of a snapshot.
constexpr int kSnapshotPage = 64;
constexpr absl::Duration kMinBookmark = absl::Milliseconds(100);
constexpr absl::Duration kMaxBookmark = absl::Hours(1);

// Names of all matching jobs that are not terminal.
absl::StatusOr<std::set<std::string>> OpenJobs(Connection& db, const LabelSelector* selector) {
  ASSIGN_OR_RETURN(std::vector<std::string> ids, UnfinishedJobs(db));
  std::set<std::string> names;
  for (const std::string& id : ids) {
    if (selector != nullptr) {
      ASSIGN_OR_RETURN(const LabelMap labels, LoadLabels(db, id));
      if (!selector->Matches(labels)) continue;
    }
    names.insert(JobName(id));
  }
  return names;
}

// The snapshot of all matching jobs, in pages. The last message has snapshot_complete and the
// cursor.
class AllJobsSnapshot {
 public:
  AllJobsSnapshot(Store& store, std::string cursor, const LabelSelector* selector)
      : store_(store), cursor_(std::move(cursor)) {
    if (selector != nullptr) query_.filter.labels = *selector;
  }

  absl::StatusOr<std::optional<std::string>> Next() {
    if (complete_) return std::optional<std::string>();
    ASSIGN_OR_RETURN(JobPage page, ReadJobPage(store_, query_, kSnapshotPage, cursor_));
    v1::StreamStatusResponse response;
    query_.after = page.last;
    for (v1::Job& job : page.jobs) *response.add_snapshot() = std::move(job);
    complete_ = !page.more;
    if (complete_) {
      response.set_snapshot_complete(true);
      response.set_cursor(cursor_);
    }
    return std::optional<std::string>(response.SerializeAsString());
  }

 private:
  Store& store_;
  const std::string cursor_;
  JobQuery query_;
  bool complete_ = false;
};

// The snapshot of one job: one message, of the same transaction as its cursor.
Bytes OneJobSnapshot(v1::Job job, std::string cursor) {
  v1::StreamStatusResponse response;
  *response.add_snapshot() = std::move(job);
  response.set_snapshot_complete(true);
  response.set_cursor(std::move(cursor));
  return std::make_shared<const std::string>(response.SerializeAsString());
}

absl::Status FillWatch(Store& store, Connection& db, const v1::StreamStatusRequest& request,
                       WatchOptions* watch) {
  const std::string& id = store.database_id();
  ASSIGN_OR_RETURN(const int64_t last, LastSeq(db));
  watch->counted_seq = last;
  std::optional<JobRecord> record;
  if (!watch->filter.job.empty()) {
    ASSIGN_OR_RETURN(record, LoadJob(db, JobId(watch->filter.job)));
    if (!IsTerminal(record->job.state())) watch->open_jobs.insert(watch->filter.job);
  } else if (request.until_terminal()) {
    ASSIGN_OR_RETURN(watch->open_jobs, OpenJobs(db, watch->filter.selector.get()));
  }
  if (request.send_snapshot()) {
    watch->start_seq = last;
    const std::string cursor = FormatCursor(id, last);
    if (record.has_value()) {
      record->job.set_cursor(cursor);
      watch->first_message = OneJobSnapshot(std::move(record->job), cursor);
    } else {
      // Each page is read when it is sent, so a job of a later page may already include changes
      // whose events follow.
      watch->snapshot = [snapshot = std::make_shared<AllJobsSnapshot>(
                             store, cursor, watch->filter.selector.get())] {
        return snapshot->Next();
      };
    }
    return absl::OkStatus();
  }
  if (request.after().empty()) {
    watch->start_seq = last;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(watch->start_seq, ParseCursor(request.after(), id, last));
  ASSIGN_OR_RETURN(const int64_t lost,
                   LostThrough(db, JobId(watch->filter.job), watch->filter.types));
  if (request.after() != "begin" && watch->start_seq < lost) {
    return CursorExpired(
        "events after it have expired (metrics_retention) or were deleted with their job");
  }
  return absl::OkStatus();
}

absl::Status SetSelector(const v1::StreamStatusRequest& request, WatchFilter* filter) {
  ASSIGN_OR_RETURN(LabelSelector selector, RequestedSelector(request.label_selector()));
  if (selector.empty()) return absl::OkStatus();
  if (!filter->job.empty())
    return BadField("label_selector", "needs the parent jobs/-: one job needs no selector");
  filter->selector = std::make_shared<const LabelSelector>(std::move(selector));
  filter->selector_text = request.label_selector();
  return absl::OkStatus();
}

// Sets `damage` if the files differ from the manifest now. The ledger is not changed: a checkpoint
// is marked corrupt when something is to start from it.
void AddDamage(const std::string& resume_point, v1::Checkpoint* checkpoint) {
  if (checkpoint->deleted() || !checkpoint->damage().empty()) return;
  // On a full disk, retention removes the folder before it marks the row. It never removes the
  // resume point.
  std::error_code error;
  if (checkpoint->name() != resume_point && !std::filesystem::exists(checkpoint->path(), error))
    return;
  const absl::Status checked = QuickCheckCheckpoint(*checkpoint);
  if (absl::IsNotFound(checked) || absl::IsDataLoss(checked))
    checkpoint->set_damage(std::string(checked.message()));
}

}  // namespace

absl::StatusOr<v1::Job> GetJob(Store& store, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, RequestedJob("name", name));
  return store.Read([&](Connection& db) -> absl::StatusOr<v1::Job> {
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(db, id));
    ASSIGN_OR_RETURN(const int64_t last, LastSeq(db));
    record.job.set_cursor(FormatCursor(store.database_id(), last));
    return std::move(record.job);
  });
}

absl::StatusOr<v1::ListAttemptsResponse> ListAttempts(Store& store,
                                                      const v1::ListAttemptsRequest& request) {
  ASSIGN_OR_RETURN(const int page, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const int64_t after, PageToken(request.page_token()));
  ASSIGN_OR_RETURN(const std::string id, RequestedJob("parent", request.parent()));
  return store.Read([&](Connection& db) -> absl::StatusOr<v1::ListAttemptsResponse> {
    v1::ListAttemptsResponse response;
    RETURN_IF_ERROR(LoadJob(db, id).status());
    ASSIGN_OR_RETURN(std::vector<v1::Attempt> attempts,
                     ListAttemptRows(db, id, static_cast<int>(after), page));
    PageFill fill(page);
    for (v1::Attempt& attempt : attempts) {
      if (!fill.Takes(attempt)) break;
      *response.add_attempts() = std::move(attempt);
    }
    if (fill.full()) {
      response.set_next_page_token(
          absl::StrCat(response.attempts(response.attempts_size() - 1).number()));
    }
    return response;
  });
}

absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(
    Store& store, const v1::ListCheckpointsRequest& request) {
  ASSIGN_OR_RETURN(const int page, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const int64_t before, PageToken(request.page_token()));
  CheckpointQuery query{.with_deleted = request.show_deleted(), .before_number = before};
  if (request.parent() != kAllJobs) {
    ASSIGN_OR_RETURN(query.job_id, RequestedJob("parent", request.parent()));
  }
  // One more, to know whether a page follows.
  query.limit = page + 1;
  v1::ListCheckpointsResponse response;
  std::map<std::string, std::string> resume_points;  // by job
  RETURN_IF_ERROR(store.Read([&](Connection& db) -> absl::Status {
    if (!query.job_id.empty()) RETURN_IF_ERROR(LoadJob(db, query.job_id).status());
    ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows, ListCheckpointRows(db, query));
    int64_t last = 0;
    PageFill fill(page);
    for (CheckpointRow& row : rows) {
      if (!fill.Takes(row.checkpoint)) {
        response.set_next_page_token(absl::StrCat(last));
        break;
      }
      last = row.number;
      const std::string job_id = JobId(row.checkpoint.name());
      if (!resume_points.contains(job_id)) {
        ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, job_id));
        resume_points[job_id] = record.job.latest_checkpoint();
      }
      *response.add_checkpoints() = std::move(row.checkpoint);
    }
    return absl::OkStatus();
  }));
  for (v1::Checkpoint& checkpoint : *response.mutable_checkpoints())
    AddDamage(resume_points[JobId(checkpoint.name())], &checkpoint);
  return response;
}

absl::StatusOr<WatchOptions> MakeWatch(Store& store, const v1::StreamStatusRequest& request) {
  WatchOptions watch;
  RETURN_IF_ERROR(CheckRequest(request));
  if (request.parent() != kAllJobs) {
    ASSIGN_OR_RETURN(const std::string id, RequestedJob("parent", request.parent()));
    watch.filter.job = JobName(id);
  }
  RETURN_IF_ERROR(SetSelector(request, &watch.filter));
  ASSIGN_OR_RETURN(watch.filter.types, EventTypeBits(request.event_types()));
  watch.until_terminal = request.until_terminal();
  if (request.has_min_metrics_interval()) {
    watch.min_metrics_interval = FromProto(request.min_metrics_interval());
  }
  if (request.has_bookmark_interval()) {
    watch.bookmark_interval =
        std::clamp(FromProto(request.bookmark_interval()), kMinBookmark, kMaxBookmark);
  }
  RETURN_IF_ERROR(
      store.Read([&](Connection& db) { return FillWatch(store, db, request, &watch); }));
  return watch;
}

}  // namespace trainerd::server
