// SPDX-License-Identifier: Apache-2.0
// The claim in a temporary run directory; the test holds locks in place of other shims.
#include "server/shim/attempt_claim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;
using Verdict = AttemptClaim::Verdict;

constexpr absl::Duration kShort = absl::Milliseconds(40);
constexpr absl::Duration kLong = absl::Seconds(30);

// An exclusive lock of somebody else.
class OtherLock {
 public:
  explicit OtherLock(const std::string& path)
      : fd_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    EXPECT_EQ(flock(fd_, LOCK_EX | LOCK_NB), 0) << path;
  }
  ~OtherLock() { Release(); }
  void Release() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

class AttemptClaimTest : public ::testing::Test {
 protected:
  AttemptClaimTest() {
    EXPECT_TRUE(MakeDirectories(attempt_dir_).ok());
    internal::AttemptSpec spec;
    spec.set_job("jobs/a");
    spec.set_attempt(1);
    spec.set_run_dir(run_dir_);
    EXPECT_TRUE(WriteFileAtomic(attempt_dir_ + "/spec.pb", spec.SerializeAsString()).ok());
    EXPECT_TRUE(WritePublisher(run_dir_, 1).ok());
  }
  bool IsHeld(const std::string& path) const { return IsLockHeld(path).value(); }

  TempDir dir_;
  const std::string run_dir_ = dir_ / "run";
  const std::string attempt_dir_ = AttemptDir(run_dir_, 1);
  const std::string run_lock_ = run_dir_ + "/run.lock";
};

TEST_F(AttemptClaimTest, TakesBothLocksUntilItIsDestroyed) {
  {
    AttemptClaim claim;
    ASSERT_EQ(claim.Take(attempt_dir_, kShort), Verdict::kTaken) << claim.why();
    EXPECT_EQ(claim.spec().job(), "jobs/a");
    EXPECT_GE(claim.run_lock_fd(), 0);
    EXPECT_TRUE(IsHeld(attempt_dir_ + "/shim.lock"));
    EXPECT_TRUE(IsHeld(run_lock_));
    EXPECT_EQ(ReadFile(run_lock_).value(), "1\n") << "the holder's attempt number";
  }
  EXPECT_FALSE(IsHeld(attempt_dir_ + "/shim.lock"));
  EXPECT_FALSE(IsHeld(run_lock_));
}

TEST_F(AttemptClaimTest, LeavesAnAttemptThatAnotherShimOwns) {
  const OtherLock other(attempt_dir_ + "/shim.lock");
  AttemptClaim claim;
  EXPECT_EQ(claim.Take(attempt_dir_, kShort), Verdict::kNotOurs);
  EXPECT_THAT(claim.why(), HasSubstr(attempt_dir_));
  EXPECT_EQ(claim.run_lock_fd(), -1);
}

TEST_F(AttemptClaimTest, LeavesAnAttemptThatWasStartedBefore) {
  for (const char* name : {"/exit.rec", "/shim.json", "/worker_exit.rec"}) {
    const std::string path = attempt_dir_ + name;
    ASSERT_TRUE(WriteFileAtomic(path, "").ok());
    AttemptClaim claim;
    EXPECT_EQ(claim.Take(attempt_dir_, kShort), Verdict::kNotOurs) << name;
    EXPECT_THAT(claim.why(), HasSubstr(path));
    unlink(path.c_str());
  }
}

TEST_F(AttemptClaimTest, RefusesWithoutASpec) {
  unlink((attempt_dir_ + "/spec.pb").c_str());
  AttemptClaim claim;
  EXPECT_EQ(claim.Take(attempt_dir_, kShort), Verdict::kRefused);
  EXPECT_THAT(claim.why(), HasSubstr("spec.pb"));
}

TEST_F(AttemptClaimTest, RefusesWhenPublisherNamesAnotherAttempt) {
  ASSERT_TRUE(WritePublisher(run_dir_, 2).ok());
  AttemptClaim claim;
  EXPECT_EQ(claim.Take(attempt_dir_, kShort), Verdict::kRefused);
  EXPECT_THAT(claim.why(), HasSubstr("publisher is attempt 2"));
}

TEST_F(AttemptClaimTest, RefusesWhenAnotherAttemptKeepsTheRunDirectoryLocked) {
  const OtherLock other(run_lock_);
  AttemptClaim claim;
  EXPECT_EQ(claim.Take(attempt_dir_, kShort), Verdict::kRefused);
  EXPECT_THAT(claim.why(), HasSubstr(run_lock_));
}

TEST_F(AttemptClaimTest, WaitsForALockThatIsReleasedInTime) {
  OtherLock other(run_lock_);
  AttemptClaim claim;
  std::thread release([&] {
    // The claim holds shim.lock while it waits for run.lock.
    while (!IsHeld(attempt_dir_ + "/shim.lock")) std::this_thread::yield();
    other.Release();
  });
  EXPECT_EQ(claim.Take(attempt_dir_, kLong), Verdict::kTaken) << claim.why();
  release.join();
}

TEST_F(AttemptClaimTest, RefusesWhenPublisherChangesWhileItWaits) {
  OtherLock other(run_lock_);
  AttemptClaim claim;
  std::thread change([&] {
    while (!IsHeld(attempt_dir_ + "/shim.lock")) std::this_thread::yield();
    EXPECT_TRUE(WritePublisher(run_dir_, 2).ok());
    other.Release();
  });
  EXPECT_EQ(claim.Take(attempt_dir_, kLong), Verdict::kRefused);
  EXPECT_THAT(claim.why(), HasSubstr("publisher is attempt 2"));
  change.join();
}

}  // namespace
}  // namespace trainerd::server
