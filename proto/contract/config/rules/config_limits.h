// SPDX-License-Identifier: Apache-2.0
// Sizes of a configuration, as the head of trainer.proto states them, and fields that this program
// does not know.
#pragma once

#include <string>
#include <vector>

#include "google/protobuf/message.h"
#include "proto/contract/config/config_violation.h"

namespace trainerd {

// A configuration of at most this size can be read back in one message of a default gRPC client.
inline constexpr size_t kMaxConfigBytes = size_t{1} << 20;
inline constexpr size_t kMaxPathBytes = 4096;

// Violations of the size of the whole and of its lists. A configuration with one of them is not
// checked further, because the violations of its elements would be as many as its elements.
void CheckConfigSize(const google::protobuf::Message& config,
                     std::vector<ConfigViolation>* violations);

// Violations of the sizes of texts other than names, labels and paths, which have rules of their
// own: 64 KiB for data.system_prompt, else 1 KiB.
void CheckTextSizes(const google::protobuf::Message& config,
                    std::vector<ConfigViolation>* violations);

// A violation with reason UNKNOWN_FIELD for each field number, at any depth, that no field of this
// program has: a newer client's key. Its path is that of the group.
void CheckUnknownFields(const google::protobuf::Message& config,
                        std::vector<ConfigViolation>* violations);

}  // namespace trainerd
