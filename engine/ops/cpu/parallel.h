// SPDX-License-Identifier: Apache-2.0
// Work split over ATen's threads so that results do not depend on how many there are.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace trainerd::engine::cpu {

// Rows that one thread should have at least, for rows of `columns` elements: starting a thread
// costs about as much as this many elements.
inline int64_t RowGrain(int64_t columns) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
}

// Blocks of a sum over rows: few enough to add up, the same for any number of threads.
struct RowBlocks {
  explicit RowBlocks(int64_t rows) : rows(rows), count(std::clamp<int64_t>(rows / 64, 1, 16)) {}
  int64_t Begin(int64_t block) const { return rows * block / count; }
  int64_t End(int64_t block) const { return rows * (block + 1) / count; }
  int64_t rows, count;
};

// Runs body(task, thread) for every task, each once, in any order and on any thread; tasks that
// cost most come first. `multiplications`: of all tasks together; a thread gets a million at least,
// because less is done sooner than the thread starts.
template <typename Body>
void ParallelTasks(int64_t tasks, int64_t multiplications, const Body& body) {
  const int64_t workers =
      std::clamp<int64_t>(std::min(tasks, multiplications >> 20), 1, at::get_num_threads());
  std::atomic<int64_t> next{0};
  at::parallel_for(0, workers, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      for (int64_t task = next.fetch_add(1); task < tasks; task = next.fetch_add(1))
        body(task, worker);
    }
  });
}

}  // namespace trainerd::engine::cpu
