// SPDX-License-Identifier: Apache-2.0
// trainctl drain and undrain: whether the daemon starts attempts.
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/control.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {
namespace {

constexpr absl::Duration kPollEvery = absl::Milliseconds(500);

absl::Status DrainEnded(const v1::ServerInfo& info) {
  return absl::AbortedError(
      absl::StrCat("the daemon (pid ", info.pid(),
                   ") does not drain: `trainctl undrain` or a restart of the daemon has ended the "
                   "drain; jobs start again"));
}

std::string Running(const v1::ServerInfo& info) {
  const int count = info.active_attempts();
  if (count == 0) return "no attempt runs";
  return absl::StrCat(Counted(count, "attempt"), count == 1 ? " still runs" : " still run");
}

void Print(const v1::ServerInfo& info, const std::string& state, const Context& context) {
  if (IsForPeople(context.form)) {
    context.out() << state << "; " << Running(info) << std::endl;
  } else {
    PrintMessage(info, context.form, context.out());
  }
}

// The answer once no attempt runs. Errors: Aborted when the drain has ended before; of the calls.
absl::StatusOr<v1::ServerInfo> WaitUntilDrained(Connection& connection, v1::ServerInfo info,
                                                const Context& context) {
  int reported = -1;
  while (true) {
    if (!info.draining()) return DrainEnded(info);
    if (info.active_attempts() == 0) return info;
    if (context.talks() && info.active_attempts() != reported) {
      reported = info.active_attempts();
      context.err() << Running(info) << std::endl;
    }
    absl::SleepFor(kPollEvery);
    const absl::StatusOr<v1::ServerInfo> newer =
        connection.Call<v1::ServerInfo>(v1::GetServerInfoRequest());
    if (!newer.ok()) return newer.status();
    info = *newer;
  }
}

}  // namespace

int RunDrain(const DrainOptions& options, const Context& context) {
  v1::DrainRequest request;
  request.set_pause_running(options.pause_running);
  request.set_request_id(NewRequestId());
  if (!options.deadline.empty()) {
    const absl::Status read = ReadGrace(options.deadline, request.mutable_deadline());
    if (!read.ok()) return PrintUsageError(std::string(read.message()), context);
  }
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  absl::StatusOr<v1::ServerInfo> info = (*connection)->Call<v1::ServerInfo>(request);
  if (info.ok() && options.wait) info = WaitUntilDrained(**connection, *info, context);
  // The daemon that got the request restarted before its answer.
  if (info.ok() && !info->draining()) info = DrainEnded(*info);
  if (!info.ok()) return PrintError(info.status(), context);
  Print(*info, "the daemon drains", context);
  return kDone;
}

int RunUndrain(const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  v1::UndrainRequest request;
  request.set_request_id(NewRequestId());
  const absl::StatusOr<v1::ServerInfo> info = (*connection)->Call<v1::ServerInfo>(request);
  if (!info.ok()) return PrintError(info.status(), context);
  Print(*info, "the daemon starts attempts", context);
  return kDone;
}

}  // namespace trainerd::client
