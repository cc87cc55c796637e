// SPDX-License-Identifier: Apache-2.0
// Memory pool for CPU tensors. Each microbatch allocates and frees hundreds of megabytes in sizes
// that differ a little from sequence to sequence. glibc either returns them to the kernel (each
// microbatch pays the page faults again, up to half of the time) or keeps them in a heap that
// fragments and grows. This pool rounds large blocks up to size classes (eight per power of two)
// and keeps one free list per class. Used and kept memory together never exceed the peak use of the
// largest microbatch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace trainerd::engine {

// Blocks of at least this size are pooled; malloc serves smaller ones.
inline constexpr size_t kPooledBytes = 256 << 10;

// Size of the class that serves a request of `bytes`: at most 12.5 % more, a multiple of 4 KiB.
size_t SizeClass(size_t bytes);

struct CpuAllocatorStats {
  int64_t in_use_bytes = 0;  // allocated, in sizes of classes
  int64_t kept_bytes = 0;    // in the free lists
};

// Makes ATen allocate CPU tensors from the pool. Call it once, before the first tensor; it applies
// for the life of the process. Thread-safe. Out of memory: the free lists are returned to the
// kernel and the request is retried; if that fails too, ATen throws c10::Error.
void InstallCpuAllocator();

// Keeps what is left to malloc, mainly the libraries' scratch buffers, in the heap too: given back
// to the kernel each time, every microbatch would pay its page faults again. Call it first thing in
// a program that trains.
void KeepHeap();

CpuAllocatorStats ReadCpuAllocatorStats();
// Returns the free lists to the kernel, for example between loading and training.
void ReleaseKeptMemory();

}  // namespace trainerd::engine
