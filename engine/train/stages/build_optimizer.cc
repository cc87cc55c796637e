// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/optim/factory.h"
#include "engine/train/kept_model.h"
#include "engine/train/stages/stages.h"
#include "proto/base/directory.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/checkpoint_count.h"

namespace trainerd::engine {
namespace {

// Warns before the first step if what the job will write does not fit on the disk now.
void NoteDiskSpace(AttemptContext& context) {
  const std::string& run_dir = context.spec.run_dir();
  const absl::StatusOr<int64_t> free = FreeBytes(run_dir);
  // A resumed job has a part of its checkpoints already.
  if (!context.spec.resume_path().empty() || !free.ok()) return;
  const int64_t model = EstimateFolderBytes(*context.parameters, KeptModelFolder(run_dir));
  const int64_t checkpoint =
      model + EstimateOptimizerBytes(*context.parameters, *context.optimizer);
  const int64_t count = CheckpointsAtOnce(context.config, context.loader->total_steps());
  const int64_t needed = count * checkpoint + model;
  if (needed <= *free) return;
  EmitNotice(context.events, v1::Notice::WARNING, "DISK_SPACE",
             absl::StrCat("the job needs ", FormatBytes(needed), " in ", run_dir,
                          " (checkpoints of ", FormatBytes(checkpoint), ", ", count,
                          " at the same time, and the final model) and ", FormatBytes(*free),
                          " are free; free some space, or lower checkpoint.keep_last"));
}

}  // namespace

absl::Status BuildOptimizer(AttemptContext& context) {
  ASSIGN_OR_RETURN(context.optimizer,
                   MakeOptimizer(context.config.optimizer(), *context.parameters));
  NoteDiskSpace(context);
  return absl::OkStatus();
}

}  // namespace trainerd::engine
