// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/devices_command.h"

#include <cstdio>

#include "engine/platform/device.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

std::string DevicesJson() {
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  for (const DeviceDescription& device : ListDevices()) {
    devices.push_back({{"name", device.name},
                       {"model", device.model},
                       {"uuid", device.uuid},
                       {"memory_bytes", device.memory_bytes},
                       {"unavailable", device.unavailable}});
  }
  return nlohmann::ordered_json{{"devices", devices}}.dump(
      1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

int RunDevicesCommand() {
  std::printf("%s\n", DevicesJson().c_str());
  return 0;
}

}  // namespace trainerd::engine
