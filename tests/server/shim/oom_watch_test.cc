// SPDX-License-Identifier: Apache-2.0
// Counts as the kernel writes them, in a temporary file.
#include "server/shim/oom_watch.h"

#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

class OomWatchTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { ASSERT_TRUE(WriteFileAtomic(path_, text).ok()); }

  TempDir dir_;
  const std::string path_ = dir_ / "counts";
};

TEST_F(OomWatchTest, CountsKillsSinceItsConstruction) {
  Write("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n");
  const OomWatch watch{path_};
  EXPECT_EQ(watch.KillsSince(), 0);
  Write("low 0\nhigh 0\nmax 9\noom 5\noom_kill 3\n");
  EXPECT_EQ(watch.KillsSince(), 1);
}

TEST_F(OomWatchTest, ReadsCgroupVersion1AndTheWholeMachine) {
  Write("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n");
  const OomWatch version1{path_};
  Write("oom_kill_disable 0\nunder_oom 1\noom_kill 9\n");
  EXPECT_EQ(version1.KillsSince(), 2);
  Write("nr_free_pages 1\noom_kill 4\nnumamove 2\n");
  const OomWatch machine{path_};
  EXPECT_EQ(machine.KillsSince(), 0);
}

TEST_F(OomWatchTest, ReturnsNothingWithoutACount) {
  EXPECT_EQ(OomWatch{std::string("/nonexistent/memory.events")}.KillsSince(), std::nullopt);
  Write("low 0\nhigh 0\nmax 3\noom 2\n");
  const OomWatch without_line{path_};
  EXPECT_EQ(without_line.KillsSince(), std::nullopt);
  Write("oom_kill 3\n");
  EXPECT_EQ(without_line.KillsSince(), std::nullopt) << "it was not known before";
  const OomWatch watch{path_};
  unlink(path_.c_str());
  EXPECT_EQ(watch.KillsSince(), std::nullopt) << "the cgroup was deleted";
}

}  // namespace
}  // namespace trainerd::server
