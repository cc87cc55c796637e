// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/process_memory.h"

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

TEST(ProcessMemoryTest, ReadsFieldsOfKernel) {
  const auto memory = ParseProcessStatus(
      "Name:\tworker\nVmPeak:\t  999 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t1\n");
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(memory->resident_bytes, 1024 * 1024);
  EXPECT_EQ(memory->peak_resident_bytes, 2048 * 1024);
}

TEST(ProcessMemoryTest, IsAbsentWhenAFieldIsMissing) {
  EXPECT_FALSE(ParseProcessStatus("VmRSS:\t 5 kB\n").has_value());
  EXPECT_FALSE(ParseProcessStatus("VmRSS:\t kB\nVmHWM:\t 5 kB\n").has_value());
}

TEST(ProcessMemoryTest, ReadsThisProcess) {
  const auto memory = ReadProcessMemory();
  ASSERT_TRUE(memory.has_value());
  EXPECT_GT(memory->resident_bytes, 1 << 20);
  EXPECT_GE(memory->peak_resident_bytes, memory->resident_bytes);
}

}  // namespace
}  // namespace trainerd::engine
