// SPDX-License-Identifier: Apache-2.0
// A checkpoint as human-readable text.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "client/commands/common/context.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::client {

// "team=blue, stage=2"; "" without labels.
std::string LabelsText(const v1::Checkpoint& checkpoint);

// "verified, best, pinned, expires in 2h00m"; `resume_point`: Job.latest_checkpoint of its job.
std::string CheckpointNotes(const v1::Checkpoint& checkpoint, const std::string& resume_point,
                            absl::Time now);

// "0.6931", or "-" if the checkpoint has no such metric.
std::string MetricText(const v1::Checkpoint& checkpoint, const std::string& metric);

// Prints the checkpoint after a command: a document, or its name and notes.
void PrintCheckpointResult(const v1::Checkpoint& checkpoint, const Context& context);

}  // namespace trainerd::client
