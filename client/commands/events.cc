// SPDX-License-Identifier: Apache-2.0
// trainctl events: the stored events of a job, or of all jobs.
#include <algorithm>

#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/net/job_names.h"
#include "client/view/event_text.h"

namespace trainerd::client {
namespace {

constexpr int kPageSize = 500;

void PrintPage(const v1::ListEventsResponse& page, const Context& context) {
  for (const v1::Event& event : page.events()) {
    if (IsForPeople(context.form)) {
      context.out() << EventLine(event) << "\n";
    } else {
      PrintMessage(event, context.form, context.out());
    }
  }
  context.out().flush();
}

// Prints each page when it is read, but for the one document of json and yaml.
absl::Status Print(Connection& connection, v1::ListEventsRequest request, int limit,
                   const Context& context) {
  const bool one_document = context.form == OutputForm::kJson || context.form == OutputForm::kYaml;
  v1::ListEventsResponse all;
  int count = 0;
  do {
    request.set_page_size(limit > 0 ? std::min(limit - count, kPageSize) : kPageSize);
    const absl::StatusOr<v1::ListEventsResponse> page =
        connection.Call<v1::ListEventsResponse>(request);
    if (!page.ok()) return page.status();
    count += page->events_size();
    if (one_document) {
      all.mutable_events()->MergeFrom(page->events());
      // A watch continues from the last page; newest first from the first one.
      if (request.order_by().empty() || all.cursor().empty()) all.set_cursor(page->cursor());
    } else {
      PrintPage(*page, context);
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty() && (limit == 0 || count < limit));
  if (one_document) PrintMessage(all, context.form, context.out());
  return absl::OkStatus();
}

}  // namespace

int RunEvents(const EventsOptions& options, const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  v1::ListEventsRequest request;
  request.set_parent(kAllJobs);
  if (!options.job.empty()) {
    const absl::StatusOr<std::string> name = ResolveJobName(**connection, options.job);
    if (!name.ok()) return PrintError(name.status(), context);
    request.set_parent(*name);
  }
  request.mutable_event_types()->Assign(options.types.begin(), options.types.end());
  if (options.newest_first) request.set_order_by("seq desc");
  const absl::Status status = Print(**connection, request, options.limit, context);
  return status.ok() ? kDone : PrintError(status, context);
}

}  // namespace trainerd::client
