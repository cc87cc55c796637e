// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/usage.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/label_selector.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job/usage.h"
#include "server/commands/request.h"
#include "server/store/errors.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/label_rows.h"
#include "server/store/rows/usage_rows.h"

namespace trainerd::server {
namespace {

using Group = v1::QueryUsageResponse::Group;

constexpr int kMaxGroups = 1000;
constexpr char kLabelPrefix[] = "label:";

enum class GroupBy { kNothing, kOwner, kDay, kLabel };

// A checked request.
struct UsageQuery {
  int64_t first_day = INT64_MIN;
  int64_t end_day = INT64_MAX;
  GroupBy group_by = GroupBy::kNothing;
  std::string label_key;
  LabelSelector selector;

  bool NeedsLabels() const { return group_by == GroupBy::kLabel || !selector.empty(); }
};

absl::StatusOr<int64_t> DayOf(const std::string& field, const google::protobuf::Timestamp& time) {
  constexpr int64_t kSecondsPerDay = 24 * 60 * 60;
  if (time.seconds() % kSecondsPerDay == 0 && time.nanos() == 0)
    return time.seconds() / kSecondsPerDay;
  return BadField(field, absl::StrCat(absl::FormatTime(FromProto(time), absl::UTCTimeZone()),
                                      " is not the beginning of a day in UTC"));
}

absl::StatusOr<UsageQuery> CheckQuery(const v1::QueryUsageRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  UsageQuery query;
  if (request.has_start_time()) {
    ASSIGN_OR_RETURN(query.first_day, DayOf("start_time", request.start_time()));
  }
  if (request.has_end_time()) {
    ASSIGN_OR_RETURN(query.end_day, DayOf("end_time", request.end_time()));
    if (query.end_day <= query.first_day)
      return BadField("end_time", "is not after start_time; the day of end_time is not counted");
  }
  absl::string_view group = request.group_by();
  if (group == "owner") {
    query.group_by = GroupBy::kOwner;
  } else if (group == "day") {
    query.group_by = GroupBy::kDay;
  } else if (absl::ConsumePrefix(&group, kLabelPrefix) &&
             IsLabelKey({group.data(), group.size()})) {
    query.group_by = GroupBy::kLabel;
    query.label_key = std::string(group);
  } else if (!request.group_by().empty()) {
    return BadField("group_by",
                    absl::StrCat(Quoted(request.group_by()), " is not owner, day or label:KEY"));
  }
  absl::StatusOr<LabelSelector> selector = ParseLabelSelector(request.label_selector());
  if (!selector.ok()) return BadField("label_selector", std::string(selector.status().message()));
  query.selector = *std::move(selector);
  return query;
}

// Sums rows up, those of one job one after the other.
class UsageSums {
 public:
  UsageSums(Connection& db, UsageQuery query) : db_(db), query_(std::move(query)) {}

  absl::Status Take(const UsageRow& row) {
    if (row.day < query_.first_day || row.day >= query_.end_day) return absl::OkStatus();
    if (row.job != job_) RETURN_IF_ERROR(BeginJob(row.job));
    if (!selected_) return absl::OkStatus();
    Sum& sum = sums_[KeyOf(row)];
    AddUsage(row.usage, sum.group.mutable_usage());
    if (sum.last_job == row.job) return absl::OkStatus();
    sum.last_job = row.job;
    sum.group.set_job_count(sum.group.job_count() + 1);
    return absl::OkStatus();
  }

  v1::QueryUsageResponse Finish() {
    std::vector<Group> groups;
    for (auto& [key, sum] : sums_) {
      sum.group.set_key(key);
      groups.push_back(std::move(sum.group));
    }
    // The keys are sorted already, and so are days.
    if (query_.group_by != GroupBy::kDay) {
      std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
        return a.usage().device_seconds() > b.usage().device_seconds();
      });
    }
    v1::QueryUsageResponse response;
    for (Group& group : groups) {
      if (response.groups_size() < kMaxGroups) {
        *response.add_groups() = std::move(group);
        continue;
      }
      Group& others = *response.mutable_others();
      others.set_job_count(others.job_count() + group.job_count());
      AddUsage(group.usage(), others.mutable_usage());
    }
    return response;
  }

 private:
  struct Sum {
    Group group;
    std::string last_job;
  };

  absl::Status BeginJob(const std::string& job) {
    job_ = job;
    selected_ = true;
    if (!query_.NeedsLabels()) return absl::OkStatus();
    LabelMap labels;
    if (IsDeletedJob(job)) {
      ASSIGN_OR_RETURN(v1::JobConfig config, LabelsOfDeleted(db_, job));
      labels.swap(*config.mutable_labels());
    } else {
      ASSIGN_OR_RETURN(labels, LoadLabels(db_, job));
    }
    selected_ = query_.selector.Matches(labels);
    const auto label = labels.find(query_.label_key);
    label_ = label == labels.end() ? "" : label->second;
    return absl::OkStatus();
  }

  std::string KeyOf(const UsageRow& row) const {
    switch (query_.group_by) {
      case GroupBy::kOwner:
        return row.owner;
      case GroupBy::kDay:
        return absl::FormatCivilTime(absl::CivilDay(1970, 1, 1) + row.day);
      case GroupBy::kLabel:
        return label_;
      case GroupBy::kNothing:
        break;
    }
    return "";
  }

  Connection& db_;
  const UsageQuery query_;
  std::map<std::string, Sum> sums_;
  // Of the current job.
  std::string job_;
  bool selected_ = false;
  std::string label_;
};

// What jobs with an attempt have used since their usage was stored.
absl::StatusOr<std::vector<UsageRow>> UnstoredUsage(Connection& db, absl::Time now) {
  std::vector<UsageRow> rows;
  for (const v1::Job::State state :
       {v1::Job::STARTING, v1::Job::RUNNING, v1::Job::PAUSING, v1::Job::STOPPING}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> ids, JobsInState(db, state));
    for (const std::string& id : ids) {
      ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, id));
      UsageRow row{.job = id,
                   .day = record.usage.day() > 0 ? record.usage.day() : UsageDay(now),
                   .owner = record.job.owner(),
                   .usage = UsageSince(record.usage.stored(), record.job.usage())};
      if (!IsZero(row.usage)) rows.push_back(std::move(row));
    }
  }
  std::sort(rows.begin(), rows.end(),
            [](const UsageRow& a, const UsageRow& b) { return a.job < b.job; });
  return rows;
}

}  // namespace

absl::StatusOr<v1::QueryUsageResponse> QueryUsage(Store& store,
                                                  const v1::QueryUsageRequest& request) {
  ASSIGN_OR_RETURN(UsageQuery query, CheckQuery(request));
  const int64_t first_day = query.first_day, end_day = query.end_day;
  return store.Read([&](Connection& db) -> absl::StatusOr<v1::QueryUsageResponse> {
    ASSIGN_OR_RETURN(const std::vector<UsageRow> unstored, UnstoredUsage(db, store.Now()));
    UsageSums sums(db, std::move(query));
    absl::Status status;
    size_t next = 0;
    // Keeps the rows of one job together.
    const auto take_unstored = [&](const std::string* before) {
      while (status.ok() && next < unstored.size() &&
             (before == nullptr || unstored[next].job < *before))
        status = sums.Take(unstored[next++]);
    };
    RETURN_IF_ERROR(ReadUsageRows(db, first_day, end_day, [&](const UsageRow& row) {
      take_unstored(&row.job);
      if (status.ok()) status = sums.Take(row);
    }));
    take_unstored(nullptr);
    RETURN_IF_ERROR(status);
    return sums.Finish();
  });
}

}  // namespace trainerd::server
