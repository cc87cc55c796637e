// SPDX-License-Identifier: Apache-2.0
// The disk of the database is full: a change is refused with a reason and stores nothing, earlier
// changes remain, and later changes succeed once there is space.
#include <thread>

#include "absl/strings/match.h"
#include "google/rpc/error_details.pb.h"
#include "tests/server/store/full_disk_vfs.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class FullDiskTest : public ::testing::Test {
 protected:
  FullDiskTest() {
    Fill(false);  // also registers it
    Open();
  }
  ~FullDiskTest() override {
    Fill(false);
    store_.reset();
  }
  void Open() {
    store_.reset();
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .vfs = FullDiskVfs::kName,
                              .listener = recorder_.Listener()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  static void Fill(bool full) {
    FullDiskVfs::Get().writes_fail = full;
    FullDiskVfs::Get().as_io_error = false;
    FullDiskVfs::Get().is_broken = false;
  }
  // One change: a row and an event of about `bytes` bytes.
  absl::Status Put(const std::string& key, size_t bytes = 10) {
    return store_->Change([&](Transaction& t) -> absl::Status {
      Query query(t.db(), "INSERT INTO meta VALUES (?, 1)");
      absl::Status stored = query.Bind("k" + key).Run();
      if (!stored.ok()) return stored;
      v1::Event event;
      event.set_job("jobs/a");
      event.mutable_notice()->set_message(std::string(bytes, 'x'));
      return t.Append(std::move(event));
    });
  }
  int64_t Count(const char* sql) {
    int64_t count = -1;
    EXPECT_OK(store_->Read([&](Connection& db) {
      Query query(db, sql);
      if (query.Step()) count = query.Int(0);
      return query.status();
    }));
    return count;
  }
  int64_t Rows() { return Count("SELECT count(*) FROM meta WHERE key LIKE 'k%'"); }
  int64_t Events() { return Count("SELECT count(*) FROM events"); }
  void ExpectDisk(const absl::Status& status) {
    ASSERT_TRUE(absl::IsResourceExhausted(status)) << status;
    const std::string path = std::filesystem::canonical(dir_.path()).string() + "/trainerd.db";
    EXPECT_TRUE(absl::StrContains(status.message(), path)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "B are free")) << status;
    const auto info_bytes = status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo");
    const auto retry = status.GetPayload("type.googleapis.com/google.rpc.RetryInfo");
    ASSERT_TRUE(info_bytes.has_value() && retry.has_value());
    google::rpc::ErrorInfo info;
    ASSERT_TRUE(info.ParseFromString(std::string(*info_bytes)));
    EXPECT_EQ(info.reason(), "DISK");
    EXPECT_EQ(info.metadata().at("path"), path);
    EXPECT_TRUE(info.metadata().count("free_bytes"));
  }
  // Three rows and three events are stored, also after reopening.
  void ExpectGoesOn(int rows) {
    ASSERT_OK(Put("after"));
    Open();
    EXPECT_EQ(Rows(), rows + 1);
    EXPECT_EQ(Events(), rows + 1);
    EXPECT_EQ(Count("SELECT max(seq) FROM events"), rows + 1) << "no number was used up";
    EXPECT_EQ(recorder_.Events().size(), static_cast<size_t>(rows) + 1) << "no further event";
  }

  TempDir dir_;
  EventRecorder recorder_;
  std::unique_ptr<Store> store_;
};

TEST_F(FullDiskTest, RefusesChangesWithPathAndBytesUntilThereIsSpace) {
  ASSERT_OK(Put("before"));
  Fill(true);
  for (int i = 0; i < 3; ++i) ExpectDisk(Put("no" + std::to_string(i)));
  EXPECT_EQ(Rows(), 1) << "reading goes on";
  Fill(false);
  ExpectGoesOn(1);
}

// The change is larger than the page cache, so SQLite writes to the full disk before the commit.
TEST_F(FullDiskTest, RollsBackChangeThatSpills) {
  ASSERT_OK(Put("before"));
  for (const bool as_io_error : {false, true}) {
    Fill(true);
    FullDiskVfs::Get().as_io_error = as_io_error;
    ExpectDisk(Put(std::string(16 << 20, 'x')));
  }
  Fill(false);
  ExpectGoesOn(1);
}

// EIO: nothing of a refused change is stored, and the daemon does not have to restart.
TEST_F(FullDiskTest, RefusesChangesWhileTheDiskFailsAndContinues) {
  ASSERT_OK(Put("before"));
  FullDiskVfs::Get().is_broken = true;
  for (const size_t bytes : {10, 16 << 20}) {
    const absl::Status refused = Put("no" + std::to_string(bytes), bytes);
    EXPECT_TRUE(absl::IsInternal(refused)) << refused;
  }
  EXPECT_EQ(Rows(), 1) << "reading goes on";
  FullDiskVfs::Get().is_broken = false;
  ExpectGoesOn(1);
}

// The size limit of the database: the statement fails, not the commit.
TEST_F(FullDiskTest, TreatsFullDatabaseAsFullDisk) {
  ASSERT_OK(Put("before"));
  ASSERT_OK(store_->Change([](Transaction& t) {
    return t.db().Execute("PRAGMA max_page_count = 1");  // no fewer than there are
  }));
  ExpectDisk(Put("no", 1 << 20));
  ASSERT_OK(store_->Change(
      [](Transaction& t) { return t.db().Execute("PRAGMA max_page_count = 1073741823"); }));
  ExpectGoesOn(1);
}

TEST_F(FullDiskTest, RepliesToAllOfManyChanges) {
  ASSERT_OK(Put("before"));
  Fill(true);
  std::vector<std::thread> threads;
  std::atomic<int> refused{0};
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 20; ++i) {
        refused += absl::IsResourceExhausted(Put(std::to_string(100 * thread + i), 5000));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, 160);
  Fill(false);
  ExpectGoesOn(1);
}

// A change that cannot be rolled back alone is rolled back with its group; later changes succeed.
TEST_F(FullDiskTest, StoresNothingWhenSavepointRollbackFails) {
  ASSERT_OK(Put("before"));
  const absl::Status status = store_->Change([](Transaction& t) -> absl::Status {
    Query query(t.db(), "INSERT INTO meta VALUES ('khalf', 1)");
    EXPECT_OK(query.Run());
    EXPECT_OK(t.db().Execute("RELEASE change"));
    return absl::AbortedError("no");
  });
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  ExpectGoesOn(1);
}

}  // namespace
}  // namespace trainerd::server
