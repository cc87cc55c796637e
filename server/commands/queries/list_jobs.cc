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
#include "server/store/rows/job_rows.h"

namespace trainerd::server {
namespace {

constexpr size_t kMaxNameBytes = 200;
// So many jobs are read for a page of a certain base, whether they match or not.
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
  if (query.order == JobOrder::kCreated) return token;
  absl::StrAppend(&token, ":", last.value, ":", last.order, ":");
  if (query.order == JobOrder::kQueue) {
    absl::StrAppend(&token, absl::ToUnixMicros(query.queue_time));
  } else {
    absl::StrAppend(&token, last.name);
  }
  return token;
}

// Sets `after`, and `queue_time` to that of the first page. False: it is no such token.
bool ParseToken(const std::string& token, JobQuery* query) {
  const std::string head = TokenHead(*query);
  if (!absl::StartsWith(token, head)) return false;
  const std::vector<std::string> parts =
      absl::StrSplit(token.substr(head.size()), absl::MaxSplits(':', 3));
  JobPosition& after = query->after;
  if (!absl::SimpleAtoi(parts[0], &after.number) || after.number <= 0) return false;
  if (query->order == JobOrder::kCreated) return parts.size() == 1;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[1], &after.value) ||
      !absl::SimpleAtoi(parts[2], &after.order))
    return false;
  if (query->order != JobOrder::kQueue) {
    after.name = parts[3];
    return true;
  }
  int64_t micros = 0;
  if (!absl::SimpleAtoi(parts[3], &micros)) return false;
  query->queue_time = absl::FromUnixMicros(micros);
  return true;
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

// The order has QUEUED jobs alone; none of them is in another state.
void RestrictToQueue(JobFilter* filter) {
  const std::vector<v1::Job::State>& states = filter->states;
  const bool queued =
      states.empty() || std::find(states.begin(), states.end(), v1::Job::QUEUED) != states.end();
  if (queued) filter->states.clear();
}

absl::Status ParseQuery(const v1::ListJobsRequest& request, JobQuery* query) {
  JobFilter& filter = query->filter;
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
  RETURN_IF_ERROR(ParseOrder(request.order_by(), query));
  if (query->order == JobOrder::kQueue) RestrictToQueue(&filter);
  if (request.page_token().empty() || ParseToken(request.page_token(), query))
    return absl::OkStatus();
  return BadField("page_token", absl::StrCat(Quoted(request.page_token()),
                                             " is not a token of an earlier reply to the same "
                                             "request; use next_page_token"));
}

}  // namespace

absl::StatusOr<LabelSelector> RequestedSelector(const std::string& text) {
  absl::StatusOr<LabelSelector> selector = ParseLabelSelector(text);
  if (selector.ok()) return selector;
  return BadField("label_selector", std::string(selector.status().message()));
}

absl::StatusOr<JobPage> ReadJobPage(Store& store, JobQuery query, int size,
                                    const std::string& cursor) {
  // One more, which shows whether there are further ones. Of the jobs that start from a certain
  // checkpoint, the index knows the job alone.
  const bool by_checkpoint = !CheckpointId(query.filter.base).empty();
  query.limit = by_checkpoint ? kMaxRows : size + 1;
  return store.Read([&](Connection& db) -> absl::StatusOr<JobPage> {
    JobPage page;
    ASSIGN_OR_RETURN(const std::vector<JobPosition> found, FindJobs(store.job_index(), db, query));
    ASSIGN_OR_RETURN(const int64_t last_seq, LastSeq(db));
    page.cursor = cursor.empty() ? FormatCursor(store.database_id(), last_seq) : cursor;
    page.more = static_cast<int>(found.size()) == query.limit;
    PageFill fill(size);
    for (const JobPosition& position : found) {
      ASSIGN_OR_RETURN(std::optional<JobRecord> record, LoadJobByNumber(db, position.number));
      if (record.has_value() && MatchesBase(record->job, query.filter.base)) {
        record->job.set_cursor(page.cursor);
        if (!fill.Takes(record->job)) {
          page.more = true;
          break;
        }
        page.jobs.push_back(std::move(record->job));
      }
      page.last = position;
    }
    return page;
  });
}

absl::StatusOr<v1::ListJobsResponse> ListJobs(Store& store, absl::Duration aging,
                                              const v1::ListJobsRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  JobQuery query{.queue_time = store.SteadyNow(), .aging = aging};
  RETURN_IF_ERROR(ParseQuery(request, &query));
  ASSIGN_OR_RETURN(JobPage page, ReadJobPage(store, query, size));
  v1::ListJobsResponse response;
  response.set_cursor(page.cursor);
  for (v1::Job& job : page.jobs) *response.add_jobs() = std::move(job);
  if (page.more) response.set_next_page_token(TokenOf(query, page.last));
  return response;
}

}  // namespace trainerd::server
