// SPDX-License-Identifier: Apache-2.0
// tests/paths.h for engine_device_tests, which runs from the portable package:
// PACKAGE/tests/bin/engine_device_tests uses the golden files of PACKAGE/tests/golden and the
// programs of PACKAGE/bin, in any folder.
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "tests/paths.h"

namespace trainerd::testing {

std::string SourceDir() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  return program.parent_path().parent_path().parent_path().string();
}

std::string BinDir() { return SourceDir() + "/bin"; }

std::string SharedDir() {
  const char* from_environment = std::getenv("TRAINERD_SHARED");
  return from_environment != nullptr ? from_environment : SourceDir() + "/../shared";
}

}  // namespace trainerd::testing
