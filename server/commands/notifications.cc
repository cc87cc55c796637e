// SPDX-License-Identifier: Apache-2.0
#include "server/commands/notifications.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "server/commands/command.h"
#include "server/commands/paging.h"
#include "server/commands/request.h"
#include "server/outbox/delivery_schedule.h"
#include "server/store/errors.h"
#include "server/store/rows/notification_rows.h"

namespace trainerd::server {
namespace {

constexpr char kPrefix[] = "notifications/";

std::string NameOf(int64_t number) { return absl::StrCat(kPrefix, number); }

absl::StatusOr<int64_t> RequestedNumber(const std::string& name) {
  absl::string_view digits = name;
  int64_t number = 0;
  const bool is_name = absl::ConsumePrefix(&digits, kPrefix) && !digits.empty() &&
                       std::all_of(digits.begin(), digits.end(),
                                   [](unsigned char c) { return absl::ascii_isdigit(c); }) &&
                       absl::SimpleAtoi(digits, &number) && number > 0;
  if (is_name) return number;
  return WithReason(BadField("name", absl::StrCat(Quoted(name), " is not notifications/NUMBER")),
                    "INVALID_NAME");
}

v1::Notification ToNotification(const NotificationRow& row, const Moment& moment) {
  v1::Notification notification;
  notification.set_name(NameOf(row.number));
  notification.set_target(row.target);
  notification.set_event(row.event);
  notification.set_job(row.job);
  notification.set_event_seq(row.event_seq);
  notification.set_state(row.state);
  notification.set_attempt_count(row.attempts);
  *notification.mutable_create_time() = ToProto(row.create_time);
  if (row.state == v1::Notification::PENDING) {
    *notification.mutable_next_attempt_time() =
        ToProto(moment.now + std::max(row.due - moment.steady_now, absl::ZeroDuration()));
  } else {
    *notification.mutable_end_time() = ToProto(row.end_time);
  }
  notification.set_last_error(row.last_error);
  return notification;
}

}  // namespace

absl::StatusOr<v1::ListNotificationsResponse> ListNotifications(
    Store& store, const v1::ListNotificationsRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int page, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const int64_t before, PageToken(request.page_token()));
  NotificationQuery query{.before_number = before, .limit = page};
  for (const int state : request.states()) {
    if (!v1::Notification::State_IsValid(state) || state == v1::Notification::STATE_UNSPECIFIED) {
      return BadField("states", absl::StrCat(state,
                                             " is not a state that this daemon knows; use "
                                             "PENDING, DELIVERED or DEAD"));
    }
    query.states.push_back(static_cast<v1::Notification::State>(state));
  }
  ASSIGN_OR_RETURN(const std::vector<NotificationRow> rows,
                   store.Read([&](Connection& db) { return ListNotificationRows(db, query); }));
  const Moment moment{.now = store.Now(), .steady_now = store.SteadyNow()};
  v1::ListNotificationsResponse response;
  PageFill fill(page);
  int64_t last = 0;
  for (const NotificationRow& row : rows) {
    v1::Notification notification = ToNotification(row, moment);
    if (!fill.Takes(notification)) break;
    last = row.number;
    *response.add_notifications() = std::move(notification);
  }
  if (fill.full()) response.set_next_page_token(absl::StrCat(last));
  return response;
}

absl::StatusOr<v1::Notification> RetryNotification(Store& store,
                                                   const v1::RetryNotificationRequest& request,
                                                   const Caller& caller,
                                                   const std::function<void()>& wake) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int64_t number, RequestedNumber(request.name()));
  CommandCall call = MakeCall("RetryNotification", request, caller);
  call.reason = request.name();
  call.resource = request.name();
  v1::Notification reply;
  RETURN_IF_ERROR(RunCommand(
      store, call, /*job_id=*/"",
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(const NotificationRow row, LoadNotification(t.db(), number));
        if (row.state != v1::Notification::DEAD) {
          return ErrorWithReason(
              absl::StatusCode::kFailedPrecondition, "NOT_DEAD",
              absl::StrCat(NameOf(number), " is ", v1::Notification::State_Name(row.state),
                           "; only a DEAD one can be delivered again"));
        }
        const Moment moment{.now = t.now(), .steady_now = t.steady_now()};
        const NotificationRow revived = Revived(row, moment);
        RETURN_IF_ERROR(StoreNotification(t.db(), revived));
        reply = ToNotification(revived, moment);
        return absl::OkStatus();
      },
      &reply));
  wake();
  return reply;
}

}  // namespace trainerd::server
