// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/run_environment.h"

#include <gtest/gtest.h>

namespace trainerd::engine {
namespace {

TEST(RunEnvironmentTest, NamesEachDifference) {
  RunEnvironment then{.engine_version = "0.1.0",
                      .build = "8d2a",
                      .torch_version = "2.11.0",
                      .cpu = "CPU",
                      .device = "cpu",
                      .threads = 2};
  RunEnvironment now = then;
  EXPECT_EQ(EnvironmentDifferences(then, now), "");
  now.threads = 4;
  now.cpu = "other CPU";
  EXPECT_EQ(EnvironmentDifferences(then, now), "CPU CPU → other CPU, threads 2 → 4");
}

TEST(RunEnvironmentTest, NamesEachDifferenceOfTheGpu) {
  RunEnvironment then{.device = "cuda:0"};
  RunEnvironment now = then;
  now.gpu = {.model = "NVIDIA B200", .driver = "590.1", .libraries = "CUDA 13.0, cuDNN 9.19.0"};
  // An older build, or the CPU: its GPU is not known.
  EXPECT_EQ(EnvironmentDifferences(then, now), "");
  EXPECT_EQ(EnvironmentDifferences(now, then), "");
  then.gpu = {.model = "NVIDIA H200", .driver = "580.9", .libraries = "CUDA 13.0, cuDNN 9.18.1"};
  EXPECT_EQ(EnvironmentDifferences(then, now),
            "GPU NVIDIA H200 → NVIDIA B200, GPU driver 580.9 → 590.1, CUDA libraries CUDA 13.0, "
            "cuDNN 9.18.1 → CUDA 13.0, cuDNN 9.19.0");
}

TEST(RunEnvironmentTest, ReadsThisProcess) {
  const RunEnvironment environment = CurrentEnvironment("cpu", 2, "2.11.0");
  EXPECT_EQ(environment.build.size(), 32u);
  EXPECT_FALSE(environment.cpu.empty());
}

}  // namespace
}  // namespace trainerd::engine
