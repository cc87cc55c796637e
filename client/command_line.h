// SPDX-License-Identifier: Apache-2.0
// The command line of trainctl: parses, runs one command, gives the exit code.
#pragma once

#include <string>
#include <vector>

#include "client/view/environment.h"

namespace trainerd::client {

// `arguments` without the program's name. Output and errors go to the environment's streams.
int RunTrainctl(const std::vector<std::string>& arguments, const Environment& env);

}  // namespace trainerd::client
