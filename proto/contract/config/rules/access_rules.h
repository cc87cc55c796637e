// SPDX-License-Identifier: Apache-2.0
// The rules of listen, tls and roles in trainerd.yaml.
#pragma once

#include <string_view>
#include <vector>

#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd {

// Whether the text can name a caller: 1 to 128 characters A-Z a-z 0-9 . _ @ : / + -.
bool IsPrincipal(std::string_view text);

// Appends a violation for each entry that cannot be kept.
void CheckAccess(const v1::ServerConfig& config, std::vector<ConfigViolation>* violations);

}  // namespace trainerd
