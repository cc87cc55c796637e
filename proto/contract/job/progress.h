// SPDX-License-Identifier: Apache-2.0
// The progress of a job as the events of its worker report it. The daemon stores it with the job;
// a watcher continues from a snapshot of the daemon.
#pragma once

#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd {

// Adds an event to the progress: metrics, the stage that began, a validation loss. Other events
// change nothing. A value that a step did not measure becomes absent, never stale.
void ApplyToProgress(const v1::Event& event, v1::Progress* progress);

}  // namespace trainerd
