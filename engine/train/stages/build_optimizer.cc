// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/checkpoint.h"
#include "engine/optim/factory.h"
#include "engine/train/kept_model.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/plan/checkpoint_count.h"
#include "proto/contract/job/plan/disk_use.h"

namespace trainerd::engine {
namespace {

// Warns before the first step if what the job will write does not fit on the disk now.
void NoteDiskSpace(AttemptContext& context) {
  // A resumed job has a part of its checkpoints already.
  if (!context.spec.resume_path().empty()) return;
  const std::string& run_dir = context.spec.run_dir();
  const CheckpointSize size =
      SizeOfCheckpoint(*context.parameters, context.config, KeptModelFolder(run_dir));
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

}  // namespace

absl::Status BuildOptimizer(AttemptContext& context) {
  ASSIGN_OR_RETURN(context.optimizer,
                   MakeOptimizer(context.config.optimizer(), *context.parameters));
  NoteDiskSpace(context);
  return absl::OkStatus();
}

}  // namespace trainerd::engine
