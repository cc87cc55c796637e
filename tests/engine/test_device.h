// SPDX-License-Identifier: Apache-2.0
// The device that an engine test computes on: TRAINERD_TEST_DEVICE (cpu, cuda:N), cpu when it is
// not set. Including this header opens the device before the first test runs, because LibTorch must
// not be asked about CUDA before; where it cannot be opened, every test of the program is skipped
// with the reason.
#pragma once

#include <c10/core/Device.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "engine/ops/op_table.h"
#include "engine/platform/device.h"

namespace trainerd::engine::testing {

inline std::string TestDeviceName() {
  const char* name = std::getenv("TRAINERD_TEST_DEVICE");
  return name != nullptr && *name != '\0' ? name : "cpu";
}

// For calls inside tests: the device is open then.
inline c10::Device TestDevice() { return c10::Device(TestDeviceName()); }

inline bool TestDeviceIsCuda() { return TestDeviceName().substr(0, 4) == "cuda"; }

class TestDeviceEnvironment : public ::testing::Environment {
 public:
  void SetUp() override {
    const absl::StatusOr<c10::Device> device = OpenDevice(TestDeviceName());
    if (!device.ok())
      GTEST_SKIP() << "TRAINERD_TEST_DEVICE=" << TestDeviceName() << ": "
                   << device.status().message();
    RegisterDeviceOps(*device);
  }
};

// GoogleTest owns it.
inline ::testing::Environment* const kTestDeviceEnvironment =
    ::testing::AddGlobalTestEnvironment(new TestDeviceEnvironment);

}  // namespace trainerd::engine::testing
