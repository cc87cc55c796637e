// SPDX-License-Identifier: Apache-2.0
// Memory of CPU tensors, owned by the worker. A microbatch's tensors come and go by the hundred
// megabytes and differ a little in size from row to row: glibc either gives them back to the kernel
// (every microbatch pays the page faults again, up to half of the time) or keeps them in a heap
// that fragments and grows. Here large blocks are rounded up to size classes (eight to each power
// of two) and kept in one free list a class; in use and kept together never exceed what the largest
// microbatch had in use.
#pragma once

#include <cstddef>
#include <cstdint>

namespace trainerd::engine {

// Blocks of at least this size are kept by class; smaller ones are malloc's.
inline constexpr size_t kPooledBytes = 256 << 10;

// Size of the class that a request of `bytes` falls into: at most 12.5 % more, a multiple of 4 KiB.
size_t SizeClass(size_t bytes);

struct CpuAllocatorStats {
  int64_t in_use_bytes = 0;  // handed out, in classes
  int64_t kept_bytes = 0;    // in the free lists
};

// Makes ATen take the memory of CPU tensors from the pool. Once, before the first tensor; stays for
// the life of the process. Thread-safe. Out of memory: the free lists are given back to the kernel
// and the request is tried again, then ATen throws c10::Error.
void InstallCpuAllocator();
CpuAllocatorStats ReadCpuAllocatorStats();
// Gives the free lists back to the kernel, for example between loading and training.
void ReleaseKeptMemory();

}  // namespace trainerd::engine
