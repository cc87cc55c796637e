// SPDX-License-Identifier: Apache-2.0
// trainctl notifications: the outbox, newest first; `retry` delivers a dead one again.
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/net/pages.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/enum_words.h"

namespace trainerd::client {
namespace {

constexpr char kPrefix[] = "notifications/";
constexpr int kPageSize = 500;

absl::StatusOr<v1::Notification::State> ParseNotificationState(const std::string& text) {
  v1::Notification::State state;
  if (v1::Notification::State_Parse(absl::AsciiStrToUpper(text), &state) &&
      state != v1::Notification::STATE_UNSPECIFIED)
    return state;
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(text),
                   " is not a state of a notification; use PENDING, DELIVERED or "
                   "DEAD"));
}

std::string Number(const v1::Notification& notification) {
  return PlainText(std::string(absl::StripPrefix(notification.name(), kPrefix)));
}

// When it is attempted again, or how long ago it ended.
std::string When(const v1::Notification& notification, absl::Time now) {
  return notification.state() == v1::Notification::PENDING
             ? "next " + FormatTimestamp(notification.next_attempt_time())
             : FormatAge(notification.end_time(), now);
}

void PrintTable(const v1::ListNotificationsResponse& all, const Context& context) {
  const bool wide = context.form == OutputForm::kWide;
  std::vector<std::string> header = {"NUMBER", "STATE", "TARGET",   "EVENT",
                                     "JOB",    "WHEN",  "ATTEMPTS", "LAST ERROR"};
  if (wide) header.insert(header.end() - 1, {"CREATED", "EVENT SEQ"});
  Table table(std::move(header));
  for (const v1::Notification& notification : all.notifications()) {
    std::vector<std::string> row = {
        Number(notification),
        v1::Notification::State_Name(notification.state()),
        PlainText(notification.target()),
        EnumText(*v1::NotifyEvent_descriptor(), notification.event()),
        PlainText(notification.job()),
        When(notification, absl::Now()),
        absl::StrCat(notification.attempt_count()),
    };
    if (wide) {
      row.push_back(FormatTimestamp(notification.create_time()));
      row.push_back(absl::StrCat(notification.event_seq()));
    }
    row.push_back(notification.last_error().empty() ? "-" : PlainText(notification.last_error()));
    table.AddRow(std::move(row));
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out().flush();
}

}  // namespace

int RunNotifications(const NotificationsOptions& options, const Context& context) {
  v1::ListNotificationsRequest request;
  request.set_page_size(kPageSize);
  for (const std::string& text : options.states) {
    const absl::StatusOr<v1::Notification::State> state = ParseNotificationState(text);
    if (!state.ok()) return PrintError(state.status(), context);
    request.add_states(*state);
  }
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const auto all = ReadAllPages<v1::ListNotificationsResponse>(**connection, request);
  if (!all.ok()) return PrintError(all.status(), context);
  if (IsForPeople(context.form)) {
    PrintTable(*all, context);
  } else {
    PrintList(*all, all->notifications(), context.form, context.out());
  }
  return kDone;
}

int RunNotificationsRetry(const std::string& number, const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  v1::RetryNotificationRequest request;
  request.set_name(absl::StartsWith(number, kPrefix) ? number : absl::StrCat(kPrefix, number));
  request.set_request_id(NewRequestId());
  const absl::StatusOr<v1::Notification> notification =
      (*connection)->Call<v1::Notification>(request);
  if (!notification.ok()) return PrintError(notification.status(), context);
  if (IsForPeople(context.form)) {
    context.out() << PlainText(notification->name()) << " is delivered to "
                  << PlainText(notification->target()) << " again" << std::endl;
  } else {
    PrintMessage(*notification, context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
