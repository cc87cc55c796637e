// SPDX-License-Identifier: Apache-2.0
// trainctl usage: what one job has used, or all jobs in a period, in sum or by group.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::client {
namespace {

constexpr int kLabelColumns = 18;

std::string Seconds(double seconds) { return FormatSpan(absl::Seconds(seconds)); }

void PrintUsage(const v1::Usage& usage, const Context& context) {
  const auto line = [&](const std::string& label, const std::string& text) {
    context.out() << PadRight(PlainText(label), kLabelColumns) << text << "\n";
  };
  line("device time", Seconds(usage.device_seconds()));
  line("of it lost", Seconds(usage.lost_device_seconds()));
  line("waiting", Seconds(usage.waiting_seconds()));
  line("checkpoints", Seconds(usage.checkpoint_seconds()));
  line("tokens", FormatCount(usage.tokens()));
  std::vector<std::pair<std::string, double>> stages(usage.stage_seconds().begin(),
                                                     usage.stage_seconds().end());
  std::sort(stages.begin(), stages.end(),
            [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [stage, seconds] : stages) line("stage " + stage, Seconds(seconds));
}

void AddRow(const std::string& key, const v1::QueryUsageResponse::Group& group, Table* table) {
  const v1::Usage& usage = group.usage();
  table->AddRow({key, absl::StrCat(group.job_count()), Seconds(usage.device_seconds()),
                 Seconds(usage.lost_device_seconds()), Seconds(usage.waiting_seconds()),
                 Seconds(usage.checkpoint_seconds()), FormatCount(usage.tokens())});
}

void PrintGroups(const v1::QueryUsageResponse& all, const std::string& group_by,
                 const Context& context) {
  Table table({group_by.empty() ? "" : "GROUP", "JOBS", "DEVICE TIME", "LOST", "WAITING",
               "CHECKPOINTS", "TOKENS"});
  for (const v1::QueryUsageResponse::Group& group : all.groups()) {
    std::string key = group_by.empty() ? "all jobs" : PlainText(group.key());
    AddRow(key.empty() ? "-" : key, group, &table);
  }
  if (all.has_others()) AddRow("(others)", all.others(), &table);
  if (table.empty()) {
    if (context.talks()) context.out() << "nothing was used in this period\n";
    return;
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
}

// The beginning of a day, YYYY-MM-DD, plus `days`.
absl::StatusOr<google::protobuf::Timestamp> ParseDay(const std::string& text, int days) {
  absl::CivilDay day;
  if (!absl::ParseCivilTime(text, &day))
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not a day; write YYYY-MM-DD, for example 2026-12-01"));
  return ToProto(absl::FromCivil(day + days, absl::UTCTimeZone()));
}

absl::StatusOr<v1::QueryUsageRequest> MakeRequest(const UsageOptions& options) {
  v1::QueryUsageRequest request;
  request.set_group_by(options.group_by);
  request.set_label_selector(options.selector);
  if (!options.since.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_start_time(), ParseDay(options.since, 0));
  }
  if (!options.until.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_end_time(), ParseDay(options.until, 1));
  }
  return request;
}

int PrintJobUsage(const std::string& text, const Context& context) {
  const absl::StatusOr<FoundJob> found = FindJob(text, context);
  if (!found.ok()) return PrintError(found.status(), context);
  const absl::StatusOr<v1::Job> job = found->connection->GetJob(found->name);
  if (!job.ok()) return PrintError(job.status(), context);
  if (IsForPeople(context.form)) {
    PrintUsage(job->usage(), context);
  } else {
    PrintMessage(job->usage(), context.form, context.out());
  }
  return kDone;
}

}  // namespace

int RunUsage(const UsageOptions& options, const Context& context) {
  if (!options.job.empty()) return PrintJobUsage(options.job, context);
  const absl::StatusOr<v1::QueryUsageRequest> request = MakeRequest(options);
  if (!request.ok()) return PrintUsageError(std::string(request.status().message()), context);
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<v1::QueryUsageResponse> usage =
      (*connection)->Call<v1::QueryUsageResponse>(*request);
  if (!usage.ok()) return PrintError(usage.status(), context);
  if (IsForPeople(context.form)) {
    PrintGroups(*usage, options.group_by, context);
  } else {
    PrintList(*usage, usage->groups(), context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
