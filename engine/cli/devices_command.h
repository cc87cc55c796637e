// SPDX-License-Identifier: Apache-2.0
// `trainerd-worker devices`: what this machine offers, as one JSON document.
#pragma once

#include <string>

namespace trainerd::engine {

// {"devices": [{"name", "model", "uuid", "memory_bytes", "unavailable"}, …]}; "unavailable" says
// why a device cannot be used, "" = it can.
std::string DevicesJson();

// Prints DevicesJson. Exit code 0.
int RunDevicesCommand();

}  // namespace trainerd::engine
