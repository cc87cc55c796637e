// SPDX-License-Identifier: Apache-2.0
// trainctl checkpoints ls: a job's checkpoints, newest first.
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr int kPageSize = 500;

std::string Notes(const v1::Checkpoint& checkpoint, const std::string& resume_point) {
  if (checkpoint.deleted()) return "deleted";
  std::string notes = checkpoint.verified() ? "verified" : "not verified yet";
  if (!checkpoint.damage().empty()) notes = "damaged: " + PlainText(checkpoint.damage());
  if (checkpoint.name() == resume_point) notes += ", resume point";
  if (checkpoint.superseded()) notes += ", superseded";
  if (checkpoint.adapter()) notes += ", adapter";
  if (!checkpoint.has_optimizer()) notes += ", weights only";
  return notes;
}

void PrintTable(const v1::ListCheckpointsResponse& all, const std::string& resume_point,
                const Context& context) {
  const bool wide = context.form == OutputForm::kWide;
  std::vector<std::string> header = {"ID", "STEP", "ATTEMPT", "SIZE", "AGE", "NOTES"};
  if (wide) header.insert(header.end(), {"PARENT", "CREATED", "FOLDER"});
  Table table(std::move(header));
  for (const v1::Checkpoint& checkpoint : all.checkpoints()) {
    std::vector<std::string> row = {PlainText(CheckpointId(checkpoint.name())),
                                    absl::StrCat(checkpoint.step()),
                                    absl::StrCat(checkpoint.attempt()),
                                    FormatBytes(checkpoint.size_bytes()),
                                    FormatAge(checkpoint.create_time(), absl::Now()),
                                    Notes(checkpoint, resume_point)};
    if (wide) {
      row.push_back(checkpoint.parent().empty() ? "-"
                                                : PlainText(CheckpointId(checkpoint.parent())));
      row.push_back(FormatTimestamp(checkpoint.create_time()));
      row.push_back(PlainText(checkpoint.path()));
    }
    table.AddRow(std::move(row));
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out().flush();
}

}  // namespace

int RunCheckpointsLs(const CheckpointsLsOptions& options, const Context& context) {
  const absl::StatusOr<FoundJob> found = FindJob(options.job, context);
  if (!found.ok()) return PrintError(found.status(), context);
  v1::ListCheckpointsRequest request;
  request.set_parent(found->name);
  request.set_page_size(kPageSize);
  request.set_show_deleted(options.all);
  v1::ListCheckpointsResponse all;
  do {
    const absl::StatusOr<v1::ListCheckpointsResponse> page =
        found->connection->Call<v1::ListCheckpointsResponse>(request);
    if (!page.ok()) return PrintError(page.status(), context);
    all.mutable_checkpoints()->MergeFrom(page->checkpoints());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  if (context.form == OutputForm::kJsonl) {
    for (const v1::Checkpoint& checkpoint : all.checkpoints())
      PrintMessage(checkpoint, context.form, context.out());
    return kDone;
  }
  if (!IsForPeople(context.form)) {
    PrintMessage(all, context.form, context.out());
    return kDone;
  }
  const absl::StatusOr<v1::Job> job = found->connection->GetJob(found->name);
  if (!job.ok()) return PrintError(job.status(), context);
  PrintTable(all, job->latest_checkpoint(), context);
  return kDone;
}

}  // namespace trainerd::client
