// SPDX-License-Identifier: Apache-2.0
// What a new job starts from: SubmitJobRequest.from and init_from. Read-only, with one exception: a
// base checkpoint that fails the quick check is marked corrupt.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/contract/config/config_violation.h"
#include "server/commands/submit/submit.h"
#include "server/store/store.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::server {

// Replaces `config` by the configuration of the job `from`, with what `config` gives, and init_from
// by the checkpoint that `from` stands for. `given` gets the paths that the job was given. A
// damaged checkpoint that is not used is added to `notices`. Errors: NotFound or FailedPrecondition
// for the base checkpoint, Unavailable when an I/O error prevents its check.
absl::Status MergeBase(Store& store, const std::string& from, v1::JobConfig* config,
                       std::vector<std::string>* given, std::vector<v1::Notice>* notices);

// Resolves init_from to a folder on this machine. With the full state, the new job takes over step,
// tokens and alerts of the checkpoint. Errors: as MergeBase.
absl::Status ResolveInitFrom(Store& store, PreparedJob* prepared,
                             std::vector<ConfigViolation>* violations);

// Errors: FailedPrecondition with reason NOTHING_TO_TRAIN if the job ends, as far as the
// configuration shows, at the step from which it starts.
absl::Status CheckStepsLeft(Store& store, const PreparedJob& prepared);

}  // namespace trainerd::server
