// SPDX-License-Identifier: Apache-2.0
// Names in a folder, without exceptions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::server {

// All names but "." and "..", in no meaningful order. NotFound when there is no such folder.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

}  // namespace trainerd::server
