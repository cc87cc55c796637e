// SPDX-License-Identifier: Apache-2.0
// What a run takes from the process around it. Environment variables are read in the programs' main
// alone.
#pragma once

#include <string>

namespace trainerd::engine {

struct RunOptions {
  std::string cache_folder;  // of token rows (data/token_cache.h); "" = none
};

}  // namespace trainerd::engine
