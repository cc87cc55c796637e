// SPDX-License-Identifier: Apache-2.0
// trainctl explain: why a job is in its state, and which commands would change that.
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {
namespace {

void Print(const std::string& name, const v1::Explanation& why, const Context& context) {
  context.out() << PlainText(name) << " " << PlainText(why.summary()) << "\n";
  for (const v1::Explanation::Reason& reason : why.reasons()) {
    context.out() << "  " << PlainText(reason.code()) << ": " << PlainText(reason.message())
                  << "\n";
  }
  if (why.has_queue_position())
    context.out() << "  position in the queue: " << why.queue_position() << "\n";
  if (why.has_estimated_start_time()) {
    context.out() << "  estimated start: " << FormatTimestamp(why.estimated_start_time()) << "\n";
  }
  for (const v1::Explanation::Action& action : why.actions()) {
    context.out() << "  `" << PlainText(action.command()) << "` " << PlainText(action.message())
                  << "\n";
  }
}

}  // namespace

int RunExplain(const std::string& job, const Context& context) {
  const absl::StatusOr<FoundJob> found = FindJob(job, context);
  if (!found.ok()) return PrintError(found.status(), context);
  v1::ExplainJobRequest request;
  request.set_name(found->name);
  const absl::StatusOr<v1::Explanation> why = found->connection->Call<v1::Explanation>(request);
  if (!why.ok()) return PrintError(why.status(), context);
  if (IsForPeople(context.form)) {
    Print(found->name, *why, context);
  } else {
    PrintMessage(*why, context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
