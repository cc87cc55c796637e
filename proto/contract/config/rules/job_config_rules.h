// SPDX-License-Identifier: Apache-2.0
// A job configuration as the user wrote it → resolved: every default filled in with its provenance,
// every range and rule checked, and the digest.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/job_config.pb.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd {

struct ResolveOptions {
  absl::Time now;  // stands for {date} and strftime_now when data.now is absent
  std::string default_name = "job";
};

// Fills in defaults by the knob table, checks ranges, choices and cross-field rules (validation
// with validation_fraction, betas' count, warm-up beyond the total …). `violations` gets every
// fault, without lines (AttachLines adds those of the file); the result is usable only when it
// stays empty. {date} in data.system_prompt is replaced here, once. `given` of the result is
// FieldPaths(config). Resolving a resolved configuration again changes nothing.
v1::ResolvedJobConfig ResolveJobConfig(const v1::JobConfig& config, const ResolveOptions& options,
                                       std::vector<ConfigViolation>* violations);

// Fills in and checks the daemon's settings the same way. Paths that depend on the process
// (state_dir, the programs) stay absent when they are.
v1::ServerConfig ResolveServerConfig(const v1::ServerConfig& config,
                                     std::vector<ConfigViolation>* violations);

}  // namespace trainerd
