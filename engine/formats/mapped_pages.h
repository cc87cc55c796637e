// SPDX-License-Identifier: Apache-2.0
// Memory of mapped files. No LibTorch.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace trainerd::engine {

// Lets the kernel drop the pages of `bytes`, a part of a read-only mapping, which keeps a process
// small while it reads a large file. Only whole pages: their neighbors may still be needed.
inline void ReleasePages(std::string_view bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace trainerd::engine
