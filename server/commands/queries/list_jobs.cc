// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/list_jobs.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/job/names.h"
#include "server/commands/paging.h"
#include "server/commands/request.h"
#include "server/events/cursor.h"
#include "server/store/errors.h"
#include "server/store/rows/event_rows.h"

namespace trainerd::server {
namespace {

constexpr size_t kMaxNameBytes = 200;
// So many jobs are read for one page, whether they match or not.
constexpr int kMaxRows = 5000;

struct OrderWord {
  const char* word;
  JobOrder order;
};
constexpr OrderWord kOrders[] = {{"create_time", JobOrder::kCreated},
                                 {"end_time", JobOrder::kEnded},
                                 {"priority", JobOrder::kPriority},
                                 {"display_name", JobOrder::kName},
                                 {"queue", JobOrder::kQueue}};

const char* WordOf(JobOrder order) {
  const auto* found = std::find_if(std::begin(kOrders), std::end(kOrders),
                                   [&](const OrderWord& entry) { return entry.order == order; });
  return found->word;
}

absl::Status ParseOrder(const std::string& text, JobQuery* query) {
  if (text.empty()) return absl::OkStatus();
  const std::vector<std::string> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
  const bool descending = words.size() == 2 && words[1] == "desc";
  if (words.size() == 1 || descending) {
    for (const OrderWord& entry : kOrders) {
      if (words[0] != entry.word) continue;
      query->order = entry.order;
      query->descending = descending;
      return absl::OkStatus();
    }
  }
  return BadField("order_by",
                  absl::StrCat(Quoted(text), " is not an order; use one of ",
                               absl::StrJoin(kOrders, ", ",
                                             [](std::string* out, const OrderWord& entry) {
                                               absl::StrAppend(out, entry.word);
                                             }),
                               ", optionally followed by \" desc\""));
}

// What precedes the position in a token, so that a token of another order is refused. Of the
// default order, a token is a number.
std::string TokenHead(const JobQuery& query) {
  if (query.order == JobOrder::kCreated && query.descending) return "";
  return absl::StrCat(WordOf(query.order), query.descending ? " desc:" : ":");
}

std::string TokenOf(const JobQuery& query, const JobPosition& last) {
  std::string token = absl::StrCat(TokenHead(query), last.number);
  if (query.order != JobOrder::kCreated)
    absl::StrAppend(&token, ":", last.value, ":", last.order, ":", last.name);
  return token;
}

std::optional<JobPosition> ParseToken(const JobQuery& query, const std::string& token) {
  const std::string head = TokenHead(query);
  if (!absl::StartsWith(token, head)) return std::nullopt;
  const std::vector<std::string> parts =
      absl::StrSplit(token.substr(head.size()), absl::MaxSplits(':', 3));
  JobPosition position;
  if (!absl::SimpleAtoi(parts[0], &position.number) || position.number <= 0) return std::nullopt;
  if (query.order == JobOrder::kCreated)
    return parts.size() == 1 ? std::optional(position) : std::nullopt;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[1], &position.value) ||
      !absl::SimpleAtoi(parts[2], &position.order))
    return std::nullopt;
  position.name = parts[3];
  return position;
}

absl::Status ParseName(const std::string& text, JobFilter* filter) {
  filter->name_prefix = absl::EndsWith(text, "*");
  filter->name = filter->name_prefix ? text.substr(0, text.size() - 1) : text;
  if (filter->name.size() <= kMaxNameBytes) return absl::OkStatus();
  return BadField("display_name", absl::StrCat("has ", filter->name.size(),
                                               " bytes; a name has at "
                                               "most ",
                                               kMaxNameBytes));
}

// What no index says.
bool MatchesRow(const v1::Job& job, const JobFilter& filter) {
  return MatchesBase(job, filter.base) && (filter.owner.empty() || job.owner() == filter.owner);
}

// The order has QUEUED jobs alone; none of them is in another state.
void RestrictToQueue(JobFilter* filter) {
  const std::vector<v1::Job::State>& states = filter->states;
  const bool queued =
      states.empty() || std::find(states.begin(), states.end(), v1::Job::QUEUED) != states.end();
  if (queued) filter->states.clear();
}

absl::StatusOr<JobQuery> ParseQuery(const v1::ListJobsRequest& request) {
  JobQuery query;
  JobFilter& filter = query.filter;
  for (int state : request.states()) filter.states.push_back(static_cast<v1::Job::State>(state));
  ASSIGN_OR_RETURN(filter.labels, RequestedSelector(request.label_selector()));
  for (const auto& [key, value] : request.labels()) {
    filter.labels.requirements.push_back(
        {.kind = LabelRequirement::Kind::kIn, .key = key, .values = {value}});
  }
  RETURN_IF_ERROR(ParseName(request.display_name(), &filter));
  filter.owner = request.owner();
  if (!request.base().empty()) {
    ASSIGN_OR_RETURN(const ResourceName base, RequestedJobOrCheckpoint("base", request.base()));
    filter.base = JobName(base.job_id);
    if (!base.checkpoint_id.empty()) filter.base = CheckpointName(filter.base, base.checkpoint_id);
  }
  if (request.has_created_after()) filter.created_after = FromProto(request.created_after());
  if (request.has_created_before()) filter.created_before = FromProto(request.created_before());
  RETURN_IF_ERROR(ParseOrder(request.order_by(), &query));
  if (query.order == JobOrder::kQueue) RestrictToQueue(&filter);
  if (request.page_token().empty()) return query;
  const std::optional<JobPosition> after = ParseToken(query, request.page_token());
  if (!after.has_value()) {
    return BadField("page_token", absl::StrCat(Quoted(request.page_token()),
                                               " is not a token of an earlier reply to the same "
                                               "request; use next_page_token"));
  }
  query.after = *after;
  return query;
}

}  // namespace

absl::StatusOr<LabelSelector> RequestedSelector(const std::string& text) {
  absl::StatusOr<LabelSelector> selector = ParseLabelSelector(text);
  if (selector.ok()) return selector;
  return BadField("label_selector", std::string(selector.status().message()));
}

absl::StatusOr<JobPage> ReadJobPage(Connection& db, JobQuery query, int size,
                                    const std::string& cursor) {
  JobPage page;
  PageFill fill(size);
  // One more, which shows whether there are further ones.
  query.limit = size + 1;
  page.more = true;
  int rows = kMaxRows;
  while (page.more && rows > 0 && !fill.full()) {
    ASSIGN_OR_RETURN(const std::vector<JobPosition> found, FindJobs(db, query));
    page.more = static_cast<int>(found.size()) == query.limit;
    for (const JobPosition& position : found) {
      ASSIGN_OR_RETURN(std::optional<JobRecord> record, LoadJobByNumber(db, position.number));
      --rows;
      if (record.has_value() && MatchesRow(record->job, query.filter)) {
        record->job.set_cursor(cursor);
        if (!fill.Takes(record->job)) {
          page.more = true;
          break;
        }
        page.jobs.push_back(std::move(record->job));
      }
      page.last = query.after = position;
    }
  }
  return page;
}

absl::StatusOr<v1::ListJobsResponse> ListJobs(Store& store, const v1::ListJobsRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const JobQuery query, ParseQuery(request));
  return store.Read([&](Connection& db) -> absl::StatusOr<v1::ListJobsResponse> {
    v1::ListJobsResponse response;
    ASSIGN_OR_RETURN(const int64_t last_seq, LastSeq(db));
    response.set_cursor(FormatCursor(store.database_id(), last_seq));
    ASSIGN_OR_RETURN(JobPage page, ReadJobPage(db, query, size, response.cursor()));
    for (v1::Job& job : page.jobs) *response.add_jobs() = std::move(job);
    if (page.more) response.set_next_page_token(TokenOf(query, page.last));
    return response;
  });
}

}  // namespace trainerd::server
