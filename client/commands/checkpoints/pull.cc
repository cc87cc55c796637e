// SPDX-License-Identifier: Apache-2.0
// trainctl checkpoints pull: copies a checkpoint or a final model into a local folder.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/interrupt.h"
#include "client/commands/common/progress_line.h"
#include "client/net/job_names.h"
#include "client/transfer/checkpoint_pull.h"
#include "nlohmann/json.hpp"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job_file/output_json.h"

namespace trainerd::client {
namespace {

constexpr char kFinal[] = "/final";

// JOB/checkpoints/ID, JOB/final, or JOB: its final model if it SUCCEEDED, else its resume point.
absl::StatusOr<std::string> ResolveModel(Connection& connection, const std::string& text) {
  absl::string_view job_text = text;
  if (absl::ConsumeSuffix(&job_text, kFinal)) {
    ASSIGN_OR_RETURN(
        const std::string name,
        ResolveJobName(connection, std::string_view(job_text.data(), job_text.size())));
    return FinalName(name);
  }
  ASSIGN_OR_RETURN(const std::string name, ResolveJobOrCheckpoint(connection, text));
  if (!CheckpointId(name).empty()) return name;
  ASSIGN_OR_RETURN(const v1::Job job, connection.GetJob(name));
  if (job.state() == v1::Job::SUCCEEDED) return FinalName(name);
  if (!job.latest_checkpoint().empty()) return job.latest_checkpoint();
  return absl::FailedPreconditionError(
      absl::StrCat(name, " has no verified checkpoint yet; `trainctl checkpoints ls ", JobId(name),
                   "` lists its checkpoints"));
}

std::string Folder(const PullCommandOptions& options, const std::string& model,
                   const Environment& env) {
  std::string folder = options.folder;
  if (folder.empty())
    folder = IsFinalName(model) ? absl::StrCat(JobId(model), "-final") : CheckpointId(model);
  return AbsolutePath(env.working_dir, folder);
}

void PrintResult(const std::string& model, const std::string& folder, const PullResult& result,
                 const Context& context) {
  if (IsForPeople(context.form)) {
    context.out() << PlainText(folder) << std::endl;
    if (context.talks()) {
      context.err() << Counted(result.files, "file") << ", " << FormatBytes(result.bytes)
                    << ", equal to the manifest" << std::endl;
    }
    return;
  }
  const nlohmann::ordered_json document = {{"name", model},
                                           {"path", folder},
                                           {"files", result.files},
                                           {"bytes", result.bytes},
                                           {"received_bytes", result.received_bytes}};
  // One document; JSON is also YAML.
  context.out() << JsonText(document, context.form == OutputForm::kJson) << std::endl;
}

}  // namespace

int RunCheckpointsPull(const PullCommandOptions& options, const Context& context) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<std::string> model = ResolveModel(**connection, options.name);
  if (!model.ok()) return PrintError(model.status(), context);
  const std::string folder = Folder(options, *model, context.env);
  const InterruptScope interrupt;
  absl::StatusOr<PullResult> result;
  {
    ProgressLine progress(context, *model);
    result = PullCheckpoint(
        **connection,
        {.model = *model,
         .folder = folder,
         .is_interrupted = [&] { return interrupt.requested(); },
         .on_progress = [&](int64_t bytes, int64_t total) { progress.Show(bytes, total); }});
  }
  if (!result.ok()) {
    const int code = PrintError(result.status(), context);
    return interrupt.requested() ? kInterrupted : code;
  }
  PrintResult(*model, folder, *result, context);
  return kDone;
}

}  // namespace trainerd::client
