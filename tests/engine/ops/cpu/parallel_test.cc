// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/cpu/parallel.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

namespace trainerd::engine::cpu {
namespace {

// at::parallel_for is an inline function that runs on one thread where its caller is compiled
// without OpenMP.
TEST(ParallelTest, RunsTasksOnAsManyThreadsAsAllowed) {
  const int threads = at::get_num_threads();
  at::set_num_threads(3);
  std::mutex mutex;
  std::set<std::thread::id> used;
  std::set<int64_t> workers;
  at::parallel_for(0, 3, /*grain_size=*/1, [&](int64_t, int64_t) {
    const std::lock_guard lock(mutex);
    used.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(used.size(), 3u);
  std::set<int64_t> tasks;
  ParallelTasks(100, int64_t{1} << 30, [&](int64_t task, int64_t worker) {
    const std::lock_guard lock(mutex);
    EXPECT_TRUE(tasks.insert(task).second);
    workers.insert(worker);
  });
  EXPECT_EQ(tasks.size(), 100u);
  for (const int64_t worker : workers) EXPECT_LT(worker, 3);
  // Too little for two.
  workers.clear();
  ParallelTasks(100, int64_t{1} << 20, [&](int64_t, int64_t worker) { workers.insert(worker); });
  EXPECT_EQ(workers, std::set<int64_t>{0});
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace trainerd::engine::cpu
