// SPDX-License-Identifier: Apache-2.0
// trainctl gc: removes what retention does not keep, or with --dry-run lists it.
#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {
namespace {

void Print(const v1::CollectGarbageResponse& garbage, bool dry_run, const Context& context) {
  Table table({"", "REASON", "SIZE", "NAME"});
  for (const auto& item : garbage.removed()) {
    table.AddRow({dry_run ? "would remove" : "removed", item.reason(), FormatBytes(item.bytes()),
                  PlainText(item.name())});
  }
  for (const auto& item : garbage.kept())
    table.AddRow({"kept", item.reason(), FormatBytes(item.bytes()), PlainText(item.name())});
  if (!table.empty()) table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out() << FormatBytes(garbage.removed_bytes())
                << (dry_run ? " would be removed, " : " removed, ")
                << FormatBytes(garbage.kept_bytes()) << " kept\n";
}

}  // namespace

int RunGc(const GcOptions& options, const Context& context) {
  const absl::StatusOr<FoundJob> found = FindJobOrAll(options.job, context);
  if (!found.ok()) return PrintError(found.status(), context);
  v1::CollectGarbageRequest request;
  request.set_parent(found->name);
  request.set_dry_run(options.dry_run);
  const absl::StatusOr<v1::CollectGarbageResponse> garbage =
      found->connection->CallForLong<v1::CollectGarbageResponse>(request);
  if (!garbage.ok()) return PrintError(garbage.status(), context);
  if (IsForPeople(context.form)) {
    Print(*garbage, options.dry_run, context);
  } else {
    PrintMessage(*garbage, context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
