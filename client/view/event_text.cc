// SPDX-License-Identifier: Apache-2.0
#include "client/view/event_text.h"

#include "absl/strings/str_cat.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job/event_text.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr int kDetailColumns = 160;

}  // namespace

std::string EventContent(const v1::Event& event) {
  std::string content = PlainText(EventSummary(event));
  for (const std::string& detail : EventDetails(event))
    absl::StrAppend(&content, "; ", FitWidth(PlainText(detail), kDetailColumns));
  return content;
}

std::string EventLine(const v1::Event& event) {
  const std::string attempt = event.attempt() > 0 ? absl::StrCat("a", event.attempt()) : "-";
  const std::string job = event.job().empty() ? "-" : PlainText(JobId(event.job()));
  return absl::StrCat(FormatTimestamp(event.time()), "  ", job, "  ", attempt, "  ",
                      PadRight(EventKind(event), 17), "  ", EventContent(event));
}

bool IsNotable(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kMetrics:
    case v1::Event::kStage:
    case v1::Event::BODY_NOT_SET:
      return false;
    case v1::Event::kCheckpoint:
      return event.checkpoint().kind() == v1::CheckpointEvent::FAILED ||
             event.checkpoint().kind() == v1::CheckpointEvent::ADOPTED;
    default:
      return true;
  }
}

}  // namespace trainerd::client
