// SPDX-License-Identifier: Apache-2.0
// Identity of a resolved configuration: its canonical text, its digest, and the differences between
// two configurations.
#pragma once

#include <string>
#include <vector>

#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

// SHA-256 over the canonical JSON of the resolved fields whose knob.identity is not false. 32
// bytes.
std::string ConfigDigest(const v1::JobConfig& resolved);
std::string CanonicalJson(const v1::JobConfig& resolved);

// One field with both values as JSON, or "absent".
struct ConfigDifference {
  std::string path, ours, theirs;
};
// Fields in which two resolved configurations differ and that change the numbers, in the order of
// the .proto file. Omits train.max_steps and train.epochs: a job may become longer or shorter.
std::vector<ConfigDifference> IdentityDifferences(const v1::JobConfig& ours,
                                                  const v1::JobConfig& theirs);

}  // namespace trainerd
