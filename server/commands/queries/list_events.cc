// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/list_events.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/advice/nearest_word.h"
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

// So many events are read for one page, whether they are of a requested type or not.
constexpr int kMaxScanned = 10'000;
// Before the number in a token of "seq desc".
constexpr char kDescending[] = "desc:";

absl::StatusOr<bool> IsDescending(const std::string& order_by) {
  if (order_by.empty() || order_by == "seq") return false;
  if (order_by == "seq desc") return true;
  return BadField("order_by", absl::StrCat(Quoted(order_by),
                                           " is not an order; use \"seq\" or "
                                           "\"seq desc\""));
}

absl::StatusOr<EventScan> MakeScan(const v1::ListEventsRequest& request) {
  EventScan scan{.limit = kMaxScanned};
  if (request.parent() != kAllJobs) {
    ASSIGN_OR_RETURN(scan.job_id, RequestedJob("parent", request.parent()));
  }
  ASSIGN_OR_RETURN(scan.types, EventTypeBits(request.event_types()));
  ASSIGN_OR_RETURN(scan.descending, IsDescending(request.order_by()));
  absl::string_view token = request.page_token();
  if (token.empty()) return scan;
  if (absl::ConsumePrefix(&token, kDescending) != scan.descending) {
    return BadField("page_token",
                    absl::StrCat(Quoted(request.page_token()), " is a token of another order_by"));
  }
  ASSIGN_OR_RETURN(scan.after, PageToken(std::string(token)));
  return scan;
}

}  // namespace

absl::StatusOr<v1::ListEventsResponse> ListEvents(Store& store,
                                                  const v1::ListEventsRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const EventScan scan, MakeScan(request));
  return store.Read([&](Connection& db) -> absl::StatusOr<v1::ListEventsResponse> {
    v1::ListEventsResponse response;
    if (!scan.job_id.empty()) RETURN_IF_ERROR(LoadJob(db, scan.job_id).status());
    ASSIGN_OR_RETURN(const int64_t last_seq, LastSeq(db));
    response.set_cursor(FormatCursor(store.database_id(), last_seq));
    PageFill fill(size);
    bool parsed = true;
    ASSIGN_OR_RETURN(const int64_t rest, ScanEvents(db, scan, [&](std::string_view bytes) {
                       v1::Event event;
                       parsed &= event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
                       if (!fill.Takes(event)) return false;
                       *response.add_events() = std::move(event);
                       return true;
                     }));
    if (!parsed) return absl::DataLossError("a stored event does not parse");
    if (rest != 0)
      response.set_next_page_token(absl::StrCat(scan.descending ? kDescending : "", rest));
    return response;
  });
}

absl::StatusOr<uint64_t> EventTypeBits(
    const google::protobuf::RepeatedPtrField<std::string>& event_types) {
  uint64_t bits = 0;
  const auto* descriptor = v1::Event::descriptor();
  const auto* body = descriptor->FindOneofByName("body");
  std::vector<std::string> names;
  for (int i = 0; i < body->field_count(); ++i) names.push_back(body->field(i)->name());
  for (const std::string& type : event_types) {
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

}  // namespace trainerd::server
