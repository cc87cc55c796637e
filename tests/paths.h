// SPDX-License-Identifier: Apache-2.0
// Where tests find the source tree and the built programs. Functions instead of compiler
// definitions, so that a second clone in another folder reuses the compiler cache. Included into
// every test by the build.
#pragma once

#include <string>

namespace trainerd::testing {

std::string SourceDir();  // the checkout
std::string BinDir();     // trainerd, trainctl, trainerd-worker …
// $TRAINERD_SHARED, else <checkout>/../shared. May not exist: skip the test then, with the reason.
std::string SharedDir();

}  // namespace trainerd::testing

#define TRAINERD_SOURCE_DIR (::trainerd::testing::SourceDir())
#define TRAINERD_BIN_DIR (::trainerd::testing::BinDir())
