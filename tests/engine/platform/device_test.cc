// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/cli/devices_command.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

TEST(DeviceTest, AlwaysListsCpu) {
  const auto devices = ListDevices();
  ASSERT_FALSE(devices.empty());
  EXPECT_EQ(devices[0].name, "cpu");
  EXPECT_GT(devices[0].memory_bytes, 100'000'000);
  EXPECT_EQ(devices[0].unavailable, "");
  EXPECT_TRUE(OpenDevice("cpu")->is_cpu());
  const auto memory = ReadDeviceMemory(c10::Device(c10::kCPU));
  ASSERT_TRUE(memory.has_value());
  EXPECT_GT(memory->bytes, 1'000'000);
  EXPECT_GE(memory->peak_bytes, memory->bytes);
}

TEST(DeviceTest, NamesUnknownAndAbsentDevices) {
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "tpu:0"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(OpenDevice(name).status())) << name;
  }
  const auto absent = OpenDevice("cuda:97");
  EXPECT_TRUE(absl::IsNotFound(absent.status()));
  EXPECT_THAT(std::string(absent.status().message()), HasSubstr("no such device: cuda:97"));
}

TEST(DeviceTest, JsonHasTheFieldsOfTheDaemon) {
  const auto json = nlohmann::json::parse(DevicesJson());
  ASSERT_TRUE(json["devices"].is_array());
  EXPECT_EQ(json["devices"][0]["name"], "cpu");
  for (const char* key : {"name", "model", "uuid", "memory_bytes", "unavailable"})
    EXPECT_TRUE(json["devices"][0].contains(key)) << key;
}

}  // namespace
}  // namespace trainerd::engine
