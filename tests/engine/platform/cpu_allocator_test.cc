// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/cpu_allocator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

namespace trainerd::engine {
namespace {

class CpuAllocatorTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { InstallCpuAllocator(); }
  void SetUp() override { ReleaseKeptMemory(); }
};

at::Tensor Bytes(int64_t count) { return at::empty({count}, at::kByte); }

TEST_F(CpuAllocatorTest, ClassesAreOrderedAndAtMostAnEighthLarger) {
  size_t last = 0;
  for (size_t bytes = kPooledBytes; bytes < (size_t{1} << 33); bytes += bytes / 37 + 1) {
    const size_t size = SizeClass(bytes);
    ASSERT_GE(size, bytes);
    ASSERT_LE(size, bytes + bytes / 8 + 4096);
    ASSERT_EQ(size % 4096, 0u);
    ASSERT_GE(size, last);
    ASSERT_EQ(SizeClass(size), size);
    last = size;
  }
}

TEST_F(CpuAllocatorTest, ReusesFreedBlockForSimilarSize) {
  const int64_t size = 6'250'000;
  const void* first = nullptr;
  {
    at::Tensor tensor = Bytes(size);
    first = tensor.data_ptr();
  }
  EXPECT_GE(ReadCpuAllocatorStats().kept_bytes, size);
  at::Tensor shorter = Bytes(size - 50'000);
  EXPECT_EQ(shorter.data_ptr(), first);
}

// Rows of a packed set differ by a few tokens: the memory must stay at what the largest one needs.
TEST_F(CpuAllocatorTest, VaryingSizesDoNotGrowMemory) {
  const auto total = [] {
    return ReadCpuAllocatorStats().in_use_bytes + ReadCpuAllocatorStats().kept_bytes;
  };
  const auto microbatch = [](int64_t tokens) {
    std::vector<at::Tensor> activations;
    for (int i = 0; i < 20; ++i) activations.push_back(Bytes(tokens * 1'536 * 4));
  };
  microbatch(1'024);
  const int64_t after_first = total();
  for (int64_t tokens = 1'024; tokens > 700; --tokens) microbatch(tokens);
  EXPECT_EQ(total(), after_first);
  // Lengths of a quite different class take the place of the kept blocks, not room beside them.
  microbatch(300);
  microbatch(37);
  microbatch(1'024);
  EXPECT_EQ(total(), after_first);
}

TEST_F(CpuAllocatorTest, TensorsAreAlignedAndWritable) {
  for (const int64_t size : {int64_t{1}, int64_t{100}, int64_t{300'000}, int64_t{5'000'000}}) {
    at::Tensor tensor = at::ones({size}, at::kByte);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0u);
    EXPECT_EQ(tensor.data_ptr<uint8_t>()[size - 1], 1);
  }
}

// oneDNN's wrappers take and free raw memory.
TEST_F(CpuAllocatorTest, FreesRawMemoryToItsOwner) {
  c10::Allocator* allocator = c10::GetCPUAllocator();
  const int64_t in_use = ReadCpuAllocatorStats().in_use_bytes;
  for (const size_t size : {size_t{100}, size_t{5'000}, size_t{1} << 20}) {
    void* memory = allocator->raw_allocate(size);
    ASSERT_NE(memory, nullptr);
    allocator->raw_deallocate(memory);
  }
  EXPECT_EQ(ReadCpuAllocatorStats().in_use_bytes, in_use);
}

TEST_F(CpuAllocatorTest, ReleasesFreeLists) {
  { at::Tensor tensor = Bytes(10'000'000); }
  EXPECT_GT(ReadCpuAllocatorStats().kept_bytes, 0);
  ReleaseKeptMemory();
  EXPECT_EQ(ReadCpuAllocatorStats().kept_bytes, 0);
}

TEST_F(CpuAllocatorTest, ThreadsShareThePool) {
  const int64_t in_use = ReadCpuAllocatorStats().in_use_bytes;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([t] {
      for (int64_t i = 0; i < 500; ++i) {
        at::Tensor tensor = Bytes(400'000 + 1'000 * i);
        tensor.data_ptr<uint8_t>()[i] = static_cast<uint8_t>(t);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ReadCpuAllocatorStats().in_use_bytes, in_use);
}

TEST_F(CpuAllocatorTest, FailsImpossibleRequestWithoutLeak) {
  const int64_t in_use = ReadCpuAllocatorStats().in_use_bytes;
  EXPECT_ANY_THROW(Bytes(int64_t{1} << 56));
  EXPECT_EQ(ReadCpuAllocatorStats().in_use_bytes, in_use);
}

}  // namespace
}  // namespace trainerd::engine
