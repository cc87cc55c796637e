// SPDX-License-Identifier: Apache-2.0
// What RunJob takes from its process. Only the programs' main functions read environment variables.
#pragma once

#include <string>

namespace trainerd::engine {

struct RunOptions {
  std::string cache_folder;  // of the token cache (data/store/token_cache.h); "" = no cache
};

}  // namespace trainerd::engine
