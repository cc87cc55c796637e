// SPDX-License-Identifier: Apache-2.0
// The devices of this machine, from `trainerd-worker devices`: the daemon never opens a device.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Runs the program and reads its JSON {"devices":[{name, model, uuid, memory_bytes, unavailable}]}.
// Blocks up to `timeout`: call it from a background thread. `is_cancelled`: RunOptions. Errors:
// NotFound (no such program), DeadlineExceeded, Cancelled, Internal with the end of its stderr.
absl::StatusOr<std::vector<v1::Device>> QueryDevices(
    const std::string& worker_path, absl::Duration timeout,
    const std::function<bool()>& is_cancelled = nullptr);

}  // namespace trainerd::server
