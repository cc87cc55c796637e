// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/cpu_allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <malloc.h>
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

#include "proto/base/format.h"

namespace trainerd::engine {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kPage = 4096;

// A kept block serves a request that is at most this much smaller (size ÷ 4); that is better than a
// new block beside it.
constexpr size_t kSlackShare = 4;

// Maps blocks and keeps freed ones by class. Its total never exceeds the peak of the memory in use:
// before it maps more, it unmaps blocks of the least recently requested classes. Never destroyed,
// because tensors of static storage may outlive main.
class BlockPool {
 public:
  // nullptr if the kernel is out of memory.
  void* Take(size_t bytes) {
    const size_t stop_mode = SizeClass(bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    size_t size = stop_mode;
    void* block = TakeKept(stop_mode, &size);
    if (block == nullptr) block = MapWithinPeak(size);
    if (block == nullptr) {
      while (UnmapOldest()) {
      }
      block = Map(size);
    }
    if (block == nullptr) return nullptr;
    sizes_[block] = size;
    stats_.in_use_bytes += static_cast<int64_t>(size);
    peak_bytes_ = std::max(peak_bytes_, stats_.in_use_bytes);
    return block;
  }

  // False if the block does not belong to the pool.
  bool Return(void* block) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto it = sizes_.find(block);
    if (it == sizes_.end()) return false;
    FreeList& list = kept_[it->second];
    list.blocks.push_back(block);
    list.asked_at = clock_;
    stats_.in_use_bytes -= static_cast<int64_t>(it->second);
    stats_.kept_bytes += static_cast<int64_t>(it->second);
    sizes_.erase(it);
    return true;
  }

  void Release() {
    std::lock_guard<std::mutex> lock(mutex_);
    while (UnmapOldest()) {
    }
    peak_bytes_ = stats_.in_use_bytes;
  }

  CpuAllocatorStats stats() {
    std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }

 private:
  struct FreeList {
    std::vector<void*> blocks;
    int64_t asked_at = 0;
  };

  void* TakeKept(size_t stop_mode, size_t* size) {
    ++clock_;
    for (auto it = kept_.lower_bound(stop_mode);
         it != kept_.end() && it->first <= stop_mode + stop_mode / kSlackShare; ++it) {
      if (it->second.blocks.empty()) continue;
      void* block = it->second.blocks.back();
      it->second.blocks.pop_back();
      it->second.asked_at = clock_;
      stats_.kept_bytes -= static_cast<int64_t>(it->first);
      *size = it->first;
      return block;
    }
    return nullptr;
  }

  void* MapWithinPeak(size_t size) {
    const int64_t limit = std::max(peak_bytes_, stats_.in_use_bytes + static_cast<int64_t>(size));
    while (stats_.in_use_bytes + stats_.kept_bytes + static_cast<int64_t>(size) > limit) {
      if (!UnmapOldest()) break;
    }
    return Map(size);
  }

  static void* Map(size_t size) {
    void* block = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? nullptr : block;
  }

  // Unmaps one kept block; false if none is kept.
  bool UnmapOldest() {
    auto oldest = kept_.end();
    for (auto it = kept_.begin(); it != kept_.end();) {
      if (it->second.blocks.empty()) {
        it = kept_.erase(it);
        continue;
      }
      if (oldest == kept_.end() || it->second.asked_at < oldest->second.asked_at) oldest = it;
      ++it;
    }
    if (oldest == kept_.end()) return false;
    ::munmap(oldest->second.blocks.back(), oldest->first);
    oldest->second.blocks.pop_back();
    stats_.kept_bytes -= static_cast<int64_t>(oldest->first);
    return true;
  }

  std::mutex mutex_;
  std::map<size_t, FreeList> kept_;
  std::unordered_map<void*, size_t> sizes_;
  CpuAllocatorStats stats_;
  int64_t peak_bytes_ = 0;  // largest in_use_bytes so far
  int64_t clock_ = 0;       // requests so far
};

BlockPool& Pool() {
  static BlockPool* pool = new BlockPool;
  return *pool;
}

// One deleter for both kinds, so that raw_allocate works (oneDNN's wrappers use it). Blocks of the
// pool are aligned to pages.
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
      TORCH_CHECK_WITH(OutOfMemoryError, block != nullptr, "out of memory: cannot allocate ",
                       FormatBytes(static_cast<int64_t>(bytes)), " for a tensor");
      return {block, block, &Free, cpu};
    }
    void* block = nullptr;
    const int error = ::posix_memalign(&block, kAlignment, bytes);
    TORCH_CHECK_WITH(OutOfMemoryError, error == 0, "out of memory: cannot allocate ",
                     FormatBytes(static_cast<int64_t>(bytes)), " for a tensor");
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
  // Above the default's priority 0, so that a later registration of the library's own does not
  // replace it.
  c10::SetCPUAllocator(allocator, /*priority=*/100);
}

void KeepHeap() {
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  ::mallopt(M_TOP_PAD, 64 << 20);
}

CpuAllocatorStats ReadCpuAllocatorStats() { return Pool().stats(); }

void ReleaseKeptMemory() { Pool().Release(); }

}  // namespace trainerd::engine
