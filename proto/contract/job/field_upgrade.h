// SPDX-License-Identifier: Apache-2.0
// Messages of older builds: values under numbers that are reserved now are moved to the fields that
// replaced them, so that a stored job is never read with defaults.
#pragma once

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace trainerd {

// Upgrades `message` and all messages in it: JobConfig and its groups, Job, Attempt, AttemptSpec.
// Current messages stay as they are. Errors: InvalidArgument naming the field and its old value,
// where the new field has no such value; `message` is unusable then.
absl::Status UpgradeFields(google::protobuf::Message* message);

}  // namespace trainerd
