// SPDX-License-Identifier: Apache-2.0
// What RunJob takes from its process. Only the programs' main functions read environment variables.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/base/directory.h"

namespace trainerd::engine {

struct RunOptions {
  std::string cache_folder;  // of the token cache (data/store/token_cache.h); "" = no cache
  // Free bytes of the file system that holds a path.
  std::function<absl::StatusOr<int64_t>(const std::string&)> free_bytes = FreeBytes;
  // While a checkpoint waits for space.
  absl::Duration space_check_every = absl::Seconds(1);
};

}  // namespace trainerd::engine
