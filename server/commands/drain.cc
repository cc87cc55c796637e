// SPDX-License-Identifier: Apache-2.0
#include "server/commands/drain.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "server/commands/request.h"
#include "server/store/errors.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kMaxDeadline = absl::Hours(24);

// DrainRequest.deadline. Errors: InvalidArgument.
absl::StatusOr<std::optional<absl::Duration>> DeadlineOf(const v1::DrainRequest& request) {
  if (!request.has_deadline()) return std::optional<absl::Duration>();
  if (!request.pause_running())
    return BadField("deadline", "applies to pause_running only; set pause_running too");
  ASSIGN_OR_RETURN(const absl::Duration deadline,
                   RequestedDuration("deadline", request.deadline(), kMaxDeadline));
  return std::optional(deadline);
}

std::string AuditText(const v1::DrainRequest& request,
                      const std::optional<absl::Duration>& deadline) {
  if (!request.pause_running()) return "";
  if (!deadline.has_value()) return "pause_running";
  return absl::StrCat("pause_running, deadline ", absl::FormatDuration(*deadline));
}

}  // namespace

DrainCommands::DrainCommands(Store& store, DaemonDrain& drain, std::function<void()> poke)
    : store_(store), drain_(drain), poke_(std::move(poke)) {}

absl::Status DrainCommands::Begin(const v1::DrainRequest& request, const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const std::optional<absl::Duration> deadline, DeadlineOf(request));
  CommandCall call = MakeCall("Drain", request, caller);
  call.reason = AuditText(request, deadline);
  return Change(std::move(call), [&](Transaction& t) -> std::optional<DrainOrder> {
    DrainOrder next{.pause_running = request.pause_running(), .since = t.steady_now()};
    if (deadline.has_value()) next.deadline = t.steady_now() + *deadline;
    return MergeDrains(drain_.order(), next);
  });
}

absl::Status DrainCommands::End(const v1::UndrainRequest& request, const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  return Change(MakeCall("Undrain", request, caller),
                [](Transaction&) { return std::optional<DrainOrder>(); });
}

absl::Status DrainCommands::Change(
    CommandCall call, const std::function<std::optional<DrainOrder>(Transaction&)>& next) {
  absl::MutexLock lock(&mutex_);
  const std::optional<DrainOrder> before = drain_.order();
  v1::ServerInfo unused;
  const absl::Status stored = RunCommand(
      store_, call, /*job_id=*/"",
      [&](Transaction& t) {
        const std::optional<DrainOrder> order = next(t);
        call.changes_memory = order != before;
        // On the writer's thread, as the changes that open attempts.
        drain_.Set(order);
        return absl::OkStatus();
      },
      &unused);
  if (!stored.ok()) {
    drain_.Set(before);
    return stored;
  }
  poke_();
  return absl::OkStatus();
}

absl::StatusOr<int> DrainCommands::CountActiveAttempts() {
  ASSIGN_OR_RETURN(const int64_t open, store_.Read(CountOpenAttempts));
  return static_cast<int>(open);
}

}  // namespace trainerd::server
