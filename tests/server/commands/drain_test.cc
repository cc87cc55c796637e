// SPDX-License-Identifier: Apache-2.0
// Drain and Undrain as commands: idempotent, audited, refused as a whole.
#include "server/commands/drain.h"

#include "server/store/rows/run_rows.h"
#include "tests/server/store/full_disk_vfs.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class DrainCommandsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FullDiskVfs::Get().writes_fail = false;
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .vfs = FullDiskVfs::kName,
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
    commands_ = std::make_unique<DrainCommands>(*store_, drain_, [this] { ++pokes_; });
  }
  void TearDown() override { FullDiskVfs::Get().writes_fail = false; }
  absl::Status Drain(const std::string& request) {
    return commands_->Begin(FromText<v1::DrainRequest>(request), "unix:");
  }
  absl::Status Undrain(const std::string& request = "") {
    return commands_->End(FromText<v1::UndrainRequest>(request), "unix:");
  }
  int64_t AuditRows() {
    int64_t count = -1;
    EXPECT_OK(store_->Read([&](Connection& db) {
      Query query(db, "SELECT count(*) FROM audit");
      if (query.Step()) count = query.Int(0);
      return query.status();
    }));
    return count;
  }

  TempDir dir_;
  FakeClock clock_;
  DaemonDrain drain_;
  int pokes_ = 0;
  std::unique_ptr<Store> store_;
  std::unique_ptr<DrainCommands> commands_;
};

TEST_F(DrainCommandsTest, IsInForceUntilItIsEnded) {
  EXPECT_OK(Undrain());  // OK if there is none
  EXPECT_EQ(AuditRows(), 0) << "nothing changed";
  EXPECT_OK(Drain(""));
  EXPECT_TRUE(commands_->in_force());
  EXPECT_FALSE(drain_.order()->pause_running);
  EXPECT_OK(Drain("pause_running: true deadline {seconds: 60}"));
  EXPECT_EQ(drain_.order()->deadline, clock_.Now() + absl::Seconds(60));
  EXPECT_EQ(AuditRows(), 2);
  EXPECT_OK(Undrain());
  EXPECT_FALSE(commands_->in_force());
  EXPECT_EQ(AuditRows(), 3);
  EXPECT_EQ(pokes_, 4);
}

TEST_F(DrainCommandsTest, ARepeatedCallHasNoEffect) {
  EXPECT_OK(Drain("request_id: 'd'"));
  EXPECT_OK(Undrain("request_id: 'u'"));
  EXPECT_OK(Drain("request_id: 'd'"));  // a late repetition
  EXPECT_FALSE(commands_->in_force());
  EXPECT_OK(Drain(""));
  EXPECT_OK(Undrain("request_id: 'u'"));
  EXPECT_TRUE(commands_->in_force());
  EXPECT_TRUE(absl::IsAlreadyExists(Drain("request_id: 'd' pause_running: true")));
  EXPECT_FALSE(drain_.order()->pause_running);
  EXPECT_TRUE(absl::IsAlreadyExists(Undrain("request_id: 'd'")));
  EXPECT_TRUE(commands_->in_force());
}

TEST_F(DrainCommandsTest, RefusesADeadlineThatItCannotHonor) {
  for (const char* request : {
           "deadline {seconds: 60}",
           "pause_running: true deadline {seconds: -1}",
           "pause_running: true deadline {seconds: 86401}",
           "pause_running: true deadline {nanos: 2000000000}",
       }) {
    EXPECT_TRUE(absl::IsInvalidArgument(Drain(request))) << request;
    EXPECT_FALSE(commands_->in_force());
  }
  EXPECT_OK(Drain("pause_running: true deadline {seconds: 86400}"));
  EXPECT_OK(Drain("pause_running: true deadline {}"));
  EXPECT_EQ(drain_.order()->deadline, clock_.Now()) << "0s, at once";
}

TEST_F(DrainCommandsTest, WhatCannotBeStoredIsNotInForce) {
  FullDiskVfs::Get().writes_fail = true;
  EXPECT_TRUE(absl::IsResourceExhausted(Drain("pause_running: true")));
  EXPECT_FALSE(commands_->in_force());
  FullDiskVfs::Get().writes_fail = false;
  EXPECT_OK(Drain(""));
  FullDiskVfs::Get().writes_fail = true;
  EXPECT_TRUE(absl::IsResourceExhausted(Undrain()));
  EXPECT_TRUE(commands_->in_force());
}

TEST_F(DrainCommandsTest, CountsAttemptsThatHaveNotEnded) {
  EXPECT_EQ(*commands_->CountActiveAttempts(), 0);
  AddJob(*store_, "a", dir_ / "runs/a");
  v1::Attempt attempt;
  attempt.set_job("jobs/a");
  attempt.set_number(1);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreAttempt(t.db(), attempt); }));
  EXPECT_EQ(*commands_->CountActiveAttempts(), 1);
  attempt.set_end(v1::Attempt::PAUSED_OK);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreAttempt(t.db(), attempt); }));
  EXPECT_EQ(*commands_->CountActiveAttempts(), 0);
}

}  // namespace
}  // namespace trainerd::server
