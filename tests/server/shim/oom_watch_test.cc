// SPDX-License-Identifier: Apache-2.0
// memory.events as the kernel writes it (Documentation/admin-guide/cgroup-v2.rst), in a temporary
// file.
#include "server/shim/oom_watch.h"

#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "proto/contract/atomic_file.h"

namespace trainerd::server {
namespace {

TEST(OomWatchTest, CountsKillsSinceItBegan) {
  char path[] = "/tmp/trainerd-oom-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  close(fd);
  ASSERT_TRUE(WriteFileAtomic(path, "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n").ok());
  const OomWatch watch{std::string(path)};
  EXPECT_EQ(watch.KillsSince(), 0);
  ASSERT_TRUE(WriteFileAtomic(path, "low 0\nhigh 0\nmax 9\noom 5\noom_kill 3\n").ok());
  EXPECT_EQ(watch.KillsSince(), 1);
  unlink(path);
}

TEST(OomWatchTest, WithoutACgroupThereAreNone) {
  const OomWatch watch{std::string("/nonexistent/memory.events")};
  EXPECT_EQ(watch.KillsSince(), 0);
}

}  // namespace
}  // namespace trainerd::server
