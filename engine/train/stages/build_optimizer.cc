// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/core/job_error.h"
#include "engine/optim/factory.h"
#include "engine/train/kept_model.h"
#include "engine/train/stages/stages.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/plan/checkpoint_count.h"
#include "proto/contract/job/plan/disk_use.h"

namespace trainerd::engine {
namespace {

// Warns before the first step if what the job will write does not fit on the disk now.
void NoteDiskSpace(AttemptContext& context, const CheckpointSize& size) {
  const std::string& run_dir = context.spec.run_dir();
  v1::DataReport::DiskUse disk;
  disk.set_folder(run_dir);
  disk.set_checkpoint_bytes(size.checkpoint_bytes);
  disk.set_checkpoint_count(CheckpointsAtOnce(context.config, context.loader->total_steps()));
  disk.set_final_bytes(size.final_bytes);
  const std::string& output = context.config.output().path();
  MeasureFreeSpace(output, &disk);
  for (const std::string& warning : DiskSpaceWarnings(disk, output))
    EmitNotice(context.events, v1::Notice::WARNING, kDiskSpace, warning);
}

// Ends the attempt if the first checkpoint does not fit, instead of hours later when it is written.
// The daemon, which counts no failure then, starts the next one when there is space.
absl::Status CheckFirstCheckpoint(AttemptContext& context) {
  const std::string& run_dir = context.spec.run_dir();
  const absl::StatusOr<int64_t> free = context.options.free_bytes(run_dir);
  const int64_t needed = SpaceForCheckpoint(context.checkpoint_bytes);
  if (!free.ok() || *free >= needed) return absl::OkStatus();
  // The scratch file takes space again in the next attempt.
  context.needed_bytes = needed + context.data.store->file().scratch_bytes();
  return WithCause(absl::ResourceExhaustedError(
                       absl::StrCat("the first checkpoint needs ", FormatBytes(needed), " in ",
                                    run_dir, " (1.2 times its expected size), ", FormatBytes(*free),
                                    " are free; free ", FormatBytes(needed - *free), " or more")),
                   {.code = kDiskSpace, .cause = v1::JobError::STORAGE, .retryable = true});
}

}  // namespace

absl::Status BuildOptimizer(AttemptContext& context) {
  // A resumed job has a part of its checkpoints already, and the daemon knows their size.
  if (context.spec.resume_path().empty()) {
    const CheckpointSize size = SizeOfCheckpoint(*context.parameters, context.config,
                                                 KeptModelFolder(context.spec.run_dir()));
    context.checkpoint_bytes = size.checkpoint_bytes;
    NoteDiskSpace(context, size);
    RETURN_IF_ERROR(CheckFirstCheckpoint(context));
  }
  ASSIGN_OR_RETURN(context.optimizer,
                   MakeOptimizer(context.config.optimizer(), *context.parameters));
  return absl::OkStatus();
}

}  // namespace trainerd::engine
