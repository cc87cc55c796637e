// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process/heap_trimmer.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "proto/base/atomic_file.h"

namespace trainerd {
namespace {

constexpr absl::Duration kCheckEvery = absl::Seconds(2);
constexpr int64_t kWorthBytes = 1 << 20;

// 0 if it cannot be read.
int64_t ResidentBytes() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/statm");
  if (!text.ok()) return 0;
  const std::vector<std::string> numbers = absl::StrSplit(*text, ' ');
  int64_t pages = 0;
  if (numbers.size() < 2 || !absl::SimpleAtoi(numbers[1], &pages)) return 0;
  return pages * sysconf(_SC_PAGESIZE);
}

// Resident memory that no allocation uses: what the program and its libraries need, and what freed
// allocations have left behind.
int64_t UnusedBytes() {
  const struct mallinfo2 heap = mallinfo2();
  return ResidentBytes() - static_cast<int64_t>(heap.uordblks + heap.hblkhd);
}

}  // namespace

HeapTrimmer::HeapTrimmer() : thread_([this] { Loop(); }) {}

HeapTrimmer::~HeapTrimmer() {
  stopping_ = true;
  wake_up_.Wake();
  thread_.join();
}

void HeapTrimmer::Loop() {
  int64_t after_trim = UnusedBytes();
  while (true) {
    wake_up_.SleepFor(kCheckEvery);
    if (stopping_) return;
    const int64_t unused = UnusedBytes();
    after_trim = std::min(after_trim, unused);
    if (unused < after_trim + kWorthBytes) continue;
    malloc_trim(0);
    after_trim = UnusedBytes();
  }
}

}  // namespace trainerd
