// SPDX-License-Identifier: Apache-2.0
#include "server/store/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

TEST(StateDirTest, CreatesFolderForOwnerOnly) {
  TempDir dir;
  const std::string path = dir / "deep/state";
  auto state = StateDir::Lock(path, absl::ZeroDuration());
  ASSERT_OK(state.status());
  struct stat info;
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  EXPECT_EQ(::stat((*state)->runs_dir().c_str(), &info), 0);
}

TEST(StateDirTest, SecondDaemonGetsPidOfHolder) {
  TempDir dir;
  auto first = StateDir::Lock(dir.path(), absl::ZeroDuration());
  ASSERT_OK(first.status());
  const absl::Status second = StateDir::Lock(dir.path(), absl::Seconds(30)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(second)) << second;
  EXPECT_TRUE(absl::StrContains(second.message(), absl::StrCat("pid ", ::getpid()))) << second;
  EXPECT_TRUE(absl::StrContains(second.message(), "--state-dir")) << second;
}

TEST(StateDirTest, SuccessorWaitsForDaemonThatShutsDown) {
  TempDir dir;
  auto first = StateDir::Lock(dir.path(), absl::ZeroDuration());
  ASSERT_OK(first.status());
  (*first)->AnnounceShutdown();
  std::thread leaver([&] {
    absl::SleepFor(absl::Milliseconds(50));
    first->reset();
  });
  EXPECT_OK(StateDir::Lock(dir.path(), absl::Seconds(30)).status());
  leaver.join();
}

TEST(StateDirTest, SuccessorWaitsForChildOfExitedDaemon) {
  TempDir dir;
  { auto lock = StateDir::Lock(dir.path(), absl::ZeroDuration()); }
  // A process that has exited and was reaped, so its pid is unused.
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(gone, nullptr, 0), gone);
  const std::string lock_path = dir / "trainerd.lock";
  std::ofstream(lock_path) << gone << "\n";
  const int held = ::open(lock_path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(held, LOCK_EX | LOCK_NB), 0);
  EXPECT_FALSE(StateDir::Lock(dir.path(), absl::ZeroDuration()).ok());
  std::thread child([&] {
    absl::SleepFor(absl::Milliseconds(50));
    ::close(held);
  });
  EXPECT_OK(StateDir::Lock(dir.path(), absl::Seconds(20)).status());
  child.join();
}

TEST(StateDirTest, RefusesPathThatCannotBeFolder) {
  TempDir dir;
  { auto lock = StateDir::Lock(dir.path(), absl::ZeroDuration()); }
  ASSERT_EQ(::truncate((dir / "trainerd.lock").c_str(), 0), 0);
  const absl::Status status =
      StateDir::Lock(dir / "trainerd.lock/state", absl::ZeroDuration()).status();
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(absl::StrContains(status.message(), "trainerd.lock/state")) << status;
}

// /proc is root's, and nobody else can own it. Root itself makes a folder of another user.
TEST(StateDirTest, RefusesFolderOfAnotherOwner) {
  TempDir dir;
  std::string path = "/proc";
  if (::geteuid() == 0) {
    path = dir / "theirs";
    ASSERT_EQ(::mkdir(path.c_str(), 0777), 0);
    ASSERT_EQ(::chown(path.c_str(), 65534, 65534), 0);
  }
  const absl::Status status = StateDir::Lock(path, absl::ZeroDuration()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), path + " is owned by ")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "--state-dir")) << status;
  EXPECT_FALSE(std::filesystem::exists(path + "/trainerd.lock"));
}

}  // namespace
}  // namespace trainerd::server
