// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "server/commands/request.h"
#include "server/events/cursor.h"
#include "server/ledger/checkpoint_scan.h"
#include "server/store/errors.h"
#include "server/store/event_rows.h"
#include "server/store/job_rows.h"
#include "server/store/run_rows.h"

namespace trainerd::server {
namespace {

constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;
// Jobs per message of a snapshot.
constexpr int kSnapshotPage = 64;
constexpr absl::Duration kMinBookmark = absl::Milliseconds(100);
constexpr absl::Duration kMaxBookmark = absl::Hours(1);

absl::StatusOr<int> PageSize(int requested) {
  if (requested < 0 || requested > kMaxPage) {
    return BadField("page_size", absl::StrCat(requested, " is not in 0..", kMaxPage));
  }
  return requested == 0 ? kDefaultPage : requested;
}

absl::StatusOr<int64_t> PageToken(const std::string& token) {
  int64_t value = 0;
  if (token.empty()) return value;
  if (absl::SimpleAtoi(token, &value) && value > 0) return value;
  return BadField(
      "page_token",
      absl::StrCat(Quoted(token), " is not a token of an earlier reply; use next_page_token"));
}

// What fits in a page: at most `elements`, and kMaxPageBytes or one element.
class PageFill {
 public:
  explicit PageFill(int elements) : left_(elements) {}

  // Whether the page takes `element` too. False once, false ever after.
  bool Takes(const google::protobuf::Message& element) {
    const size_t size = element.ByteSizeLong() + kElementBytes;
    refused_ |= left_ == 0 || (bytes_ > 0 && bytes_ + size > kMaxPageBytes);
    if (refused_) return false;
    bytes_ += size;
    --left_;
    return true;
  }
  bool full() const { return refused_ || left_ == 0; }

 private:
  // At most tag and size of an element.
  static constexpr size_t kElementBytes = 8;
  int left_;
  size_t bytes_ = 0;
  bool refused_ = false;
};

bool HasLabels(const v1::Job& job, const v1::ListJobsRequest& request) {
  return std::all_of(request.labels().begin(), request.labels().end(), [&](const auto& label) {
    auto it = job.config().labels().find(label.first);
    return it != job.config().labels().end() && it->second == label.second;
  });
}

absl::StatusOr<uint64_t> TypeBits(const v1::StreamStatusRequest& request) {
  uint64_t bits = 0;
  const auto* descriptor = v1::Event::descriptor();
  const auto* body = descriptor->FindOneofByName("body");
  std::vector<std::string> names;
  for (int i = 0; i < body->field_count(); ++i) names.push_back(body->field(i)->name());
  for (const std::string& type : request.event_types()) {
    if (std::find(names.begin(), names.end(), type) == names.end()) {
      const std::string near = NearestWord(type, names);
      return BadField("event_types",
                      absl::StrCat(Quoted(type), " is not an event type; ",
                                   near.empty() ? "use one of: " + absl::StrJoin(names, ", ")
                                                : "did you mean \"" + near + "\"?"));
    }
    bits |= uint64_t{1} << descriptor->FindFieldByName(type)->number();
  }
  return bits;
}

// Names of all jobs that are not terminal.
absl::StatusOr<std::set<std::string>> OpenJobs(Connection& db) {
  ASSIGN_OR_RETURN(std::vector<std::string> ids, UnfinishedJobs(db));
  std::set<std::string> names;
  for (const std::string& id : ids) names.insert(JobName(id));
  return names;
}

// The snapshot of all jobs, in pages. The last message has snapshot_complete and the cursor.
class AllJobsSnapshot {
 public:
  AllJobsSnapshot(Store& store, std::string cursor) : store_(store), cursor_(std::move(cursor)) {}

  absl::StatusOr<std::optional<std::string>> Next() {
    if (complete_) return std::optional<std::string>();
    ASSIGN_OR_RETURN(JobPage page, store_.Read([&](Connection& db) {
      return ListJobRows(db, {.before_number = before_, .limit = kSnapshotPage});
    }));
    v1::StreamStatusResponse response;
    for (JobRecord& record : page.records) {
      before_ = record.number;
      record.job.set_cursor(cursor_);
      *response.add_snapshot() = std::move(record.job);
    }
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
  int64_t before_ = 0;
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
    ASSIGN_OR_RETURN(watch->open_jobs, OpenJobs(db));
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
      watch->snapshot = [snapshot = std::make_shared<AllJobsSnapshot>(store, cursor)] {
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

// Sets `damage` if the files differ from the manifest now. The ledger is not changed: a checkpoint
// is marked corrupt when something is to start from it.
void AddDamage(const std::string& resume_point, v1::Checkpoint* checkpoint) {
  if (checkpoint->deleted() || !checkpoint->damage().empty()) return;
  // Retention removes the folder before it marks the row. It never removes the resume point.
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

absl::StatusOr<v1::ListJobsResponse> ListJobs(Store& store, const v1::ListJobsRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int page, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(int64_t before, PageToken(request.page_token()));
  JobQuery query{.limit = page};
  for (int state : request.states()) query.states.push_back(static_cast<v1::Job::State>(state));
  return store.Read([&](Connection& db) -> absl::StatusOr<v1::ListJobsResponse> {
    v1::ListJobsResponse response;
    ASSIGN_OR_RETURN(const int64_t last, LastSeq(db));
    response.set_cursor(FormatCursor(store.database_id(), last));
    PageFill fill(page);
    bool more = true;
    while (more && !fill.full()) {
      query.before_number = before;
      ASSIGN_OR_RETURN(JobPage jobs, ListJobRows(db, query));
      more = jobs.more;
      for (JobRecord& record : jobs.records) {
        const int64_t number = record.number;
        if (HasLabels(record.job, request)) {
          record.job.set_cursor(response.cursor());
          if (!fill.Takes(record.job)) {
            more = true;
            break;
          }
          *response.add_jobs() = std::move(record.job);
        }
        before = number;
      }
    }
    if (more) response.set_next_page_token(absl::StrCat(before));
    return response;
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
  ASSIGN_OR_RETURN(const std::string id, RequestedJob("parent", request.parent()));
  v1::ListCheckpointsResponse response;
  std::string resume_point;
  RETURN_IF_ERROR(store.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, id));
    resume_point = record.job.latest_checkpoint();
    ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                     ListCheckpointRows(db, id, request.show_deleted()));
    int64_t last = 0;
    PageFill fill(page);
    for (CheckpointRow& row : rows) {
      if (before > 0 && row.number >= before) continue;
      if (!fill.Takes(row.checkpoint)) {
        response.set_next_page_token(absl::StrCat(last));
        break;
      }
      last = row.number;
      *response.add_checkpoints() = std::move(row.checkpoint);
    }
    return absl::OkStatus();
  }));
  for (v1::Checkpoint& checkpoint : *response.mutable_checkpoints())
    AddDamage(resume_point, &checkpoint);
  return response;
}

absl::StatusOr<WatchOptions> MakeWatch(Store& store, const v1::StreamStatusRequest& request) {
  WatchOptions watch;
  RETURN_IF_ERROR(CheckRequest(request));
  if (request.parent() != kAllJobs) {
    ASSIGN_OR_RETURN(const std::string id, RequestedJob("parent", request.parent()));
    watch.filter.job = JobName(id);
  }
  ASSIGN_OR_RETURN(watch.filter.types, TypeBits(request));
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
