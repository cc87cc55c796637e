// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/cpu_allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace trainerd::engine {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kPage = 4096;

// Maps blocks and keeps freed ones by class. Never destroyed: tensors of static storage may outlive main.
class BlockPool {
 public:
  // nullptr when the kernel has no more.
  void* Take(size_t bytes) {
    const size_t size = SizeClass(bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    void* block = TakeKept(size);
    if (block == nullptr) block = Map(size);
    if (block == nullptr) {
      UnmapKept();
      block = Map(size);
    }
    if (block == nullptr) return nullptr;
    sizes_[block] = size;
    stats_.in_use_bytes += static_cast<int64_t>(size);
    return block;
  }

  // False when the block is not of the pool.
  bool Return(void* block) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto it = sizes_.find(block);
    if (it == sizes_.end()) return false;
    kept_[it->second].push_back(block);
    stats_.in_use_bytes -= static_cast<int64_t>(it->second);
    stats_.kept_bytes += static_cast<int64_t>(it->second);
    sizes_.erase(it);
    return true;
  }

  void Release() {
    std::lock_guard<std::mutex> lock(mutex_);
    UnmapKept();
  }

  CpuAllocatorStats stats() {
    std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }

 private:
  void* TakeKept(size_t size) {
    const auto it = kept_.find(size);
    if (it == kept_.end() || it->second.empty()) return nullptr;
    void* block = it->second.back();
    it->second.pop_back();
    stats_.kept_bytes -= static_cast<int64_t>(size);
    return block;
  }

  static void* Map(size_t size) {
    void* block = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? nullptr : block;
  }

  void UnmapKept() {
    for (auto& [size, blocks] : kept_) {
      for (void* block : blocks) ::munmap(block, size);
      stats_.kept_bytes -= static_cast<int64_t>(size * blocks.size());
    }
    kept_.clear();
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> kept_;
  std::unordered_map<void*, size_t> sizes_;
  CpuAllocatorStats stats_;
};

BlockPool& Pool() {
  static BlockPool* pool = new BlockPool;
  return *pool;
}

// One deleter for both kinds, so that raw_allocate works (oneDNN's wrappers use it). Blocks of the pool start at a page.
void Free(void* block) {
  if (block == nullptr) return;
  if (reinterpret_cast<uintptr_t>(block) % kPage == 0 && Pool().Return(block)) return;
  std::free(block);
}

class PoolAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &Free, cpu};
    if (bytes >= kPooledBytes) {
      void* block = Pool().Take(bytes);
      TORCH_CHECK_WITH(OutOfMemoryError, block != nullptr, "out of memory: cannot allocate ", bytes, " bytes for a tensor");
      return {block, block, &Free, cpu};
    }
    void* block = nullptr;
    const int error = ::posix_memalign(&block, kAlignment, bytes);
    TORCH_CHECK_WITH(OutOfMemoryError, error == 0, "out of memory: cannot allocate ", bytes, " bytes for a tensor");
    return {block, block, &Free, cpu};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Free; }

  void copy_data(void* destination, const void* source, size_t count) const override {
    std::memcpy(destination, source, count);
  }
};

}  // namespace

size_t SizeClass(size_t bytes) {
  if (bytes <= kPage) return kPage;
  const size_t step = std::max(kPage, std::bit_floor(bytes - 1) >> 3);
  return (bytes + step - 1) / step * step;
}

void InstallCpuAllocator() {
  static PoolAllocator* allocator = new PoolAllocator;
  // Above the default's priority 0, so that a later registration of the library's own does not replace it.
  c10::SetCPUAllocator(allocator, /*priority=*/100);
}

CpuAllocatorStats ReadCpuAllocatorStats() { return Pool().stats(); }

void ReleaseKeptMemory() { Pool().Release(); }

}  // namespace trainerd::engine
