// SPDX-License-Identifier: Apache-2.0
// A directory for the files that a fuzz target hands to code that reads files.
#pragma once

#include <filesystem>

#include "tests/temp_dir.h"

namespace trainerd::testing {

// In memory if the machine has /dev/shm: a target runs thousands of inputs per second.
class FuzzFolder : public TempDir {
 public:
  FuzzFolder()
      : TempDir(std::filesystem::exists("/dev/shm") ? std::filesystem::path("/dev/shm")
                                                    : std::filesystem::temp_directory_path()) {}
};

}  // namespace trainerd::testing
