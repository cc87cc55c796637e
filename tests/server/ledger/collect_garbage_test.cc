// SPDX-License-Identifier: Apache-2.0
// Retention with a real store and real folders: who uses a checkpoint, crashes between the steps of
// a removal, a full disk, garbage.
#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "proto/base/status_macros.h"
#include "server/ledger/housekeeping.h"
#include "server/store/rows/dependency_rows.h"
#include "server/store/rows/retention_rows.h"
#include "tests/server/store/full_disk_vfs.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class CollectGarbageTest : public ::testing::Test {
 protected:
  CollectGarbageTest() { Open(); }
  void Open() {
    housekeeping_.reset();
    disk_.reset();
    store_.reset();
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .vfs = vfs_,
                              .listener = recorder_.Listener(),
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
    disk_ = std::make_unique<DiskWorker>();
    housekeeping_ = std::make_unique<Housekeeping>(
        Housekeeping::Options{.runs_dir = dir_ / "runs",
                              .clock = clock_.Function(),
                              .in_use = [this] { return downloads_; }},
        *store_, *disk_);
  }
  std::string RunDir(const std::string& id) { return dir_ / ("runs/" + id); }
  // A job with checkpoints of these steps, with their folders.
  void Job(const std::string& id, const std::vector<int64_t>& steps,
           const std::string& rules = "keep_last: 1") {
    AddJob(*store_, id, RunDir(id), "checkpoint: {" + rules + "}");
    for (int64_t step : steps) Add(id, step);
  }
  static std::string Name(const std::string& id, int64_t step) {
    return absl::StrCat("jobs/", id, "/checkpoints/c", step);
  }
  void Add(const std::string& id, int64_t step) {
    v1::Checkpoint checkpoint;
    checkpoint.set_name(Name(id, step));
    checkpoint.set_job(JobName(id));
    checkpoint.set_step(step);
    checkpoint.set_verified(true);
    checkpoint.set_size_bytes(100 + step);
    *checkpoint.mutable_create_time() = ToProto(clock_.Now());
    const std::string folder = absl::StrCat(RunDir(id), "/checkpoints/c", step);
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/weights") << std::string(static_cast<size_t>(step), 'x');
    ASSERT_OK(store_->Change(
        [&](Transaction& t) { return StoreCheckpoint(t.db(), std::move(checkpoint)); }));
  }
  void Edit(const std::string& id, const std::function<void(JobRecord*)>& edit) {
    JobRecord record = Load(*store_, id);
    edit(&record);
    ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  }
  void EditCheckpoint(const std::string& id, int64_t step,
                      const std::function<void(v1::Checkpoint*)>& edit) {
    ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(auto row, FindCheckpoint(t.db(), id, absl::StrCat("c", step)));
      edit(&row->checkpoint);
      return StoreCheckpoint(t.db(), row->checkpoint);
    }));
  }
  Housekeeping::Garbage Collect(const std::string& id, bool dry_run = false) {
    auto garbage = housekeeping_->CollectJob(id, dry_run, nullptr);
    EXPECT_TRUE(garbage.ok()) << garbage.status();
    return garbage.ok() ? *std::move(garbage) : Housekeeping::Garbage();
  }
  void WaitForDisk() {
    absl::Notification done;
    disk_->Post([&] { done.Notify(); });
    done.WaitForNotification();
  }
  // Names of the folders.
  std::set<std::string> Folders(const std::string& id) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(RunDir(id) + "/checkpoints"))
      names.insert(entry.path().filename());
    return names;
  }
  static std::set<std::string> Removed(const Housekeeping::Garbage& garbage) {
    std::set<std::string> names;
    for (const RetentionItem& item : garbage.checkpoints) {
      if (item.removed) names.insert(CheckpointId(item.checkpoint.name()));
    }
    return names;
  }
  int Deleted() {
    int count = 0;
    for (const v1::Event& event : recorder_.Events())
      count += event.checkpoint().kind() == v1::CheckpointEvent::DELETED;
    return count;
  }

  TempDir dir_;
  std::string vfs_;
  FakeClock clock_;
  EventRecorder recorder_;
  std::set<std::string> downloads_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<DiskWorker> disk_;
  std::unique_ptr<Housekeeping> housekeeping_;
};

TEST_F(CollectGarbageTest, RemovesFoldersAndMarksRows) {
  Job("a", {1, 2, 3});
  EXPECT_THAT(Removed(Collect("a", /*dry_run=*/true)), UnorderedElementsAre("c1", "c2"));
  EXPECT_THAT(Folders("a"), UnorderedElementsAre("c1", "c2", "c3")) << "a plan changes nothing";
  EXPECT_EQ(Deleted(), 0);
  EXPECT_THAT(Removed(Collect("a")), UnorderedElementsAre("c1", "c2"));
  EXPECT_THAT(Folders("a"), ElementsAre("c3"));
  EXPECT_EQ(Deleted(), 2);
  EXPECT_THAT(Removed(Collect("a")), IsEmpty());
}

TEST_F(CollectGarbageTest, KeepsWhatSomethingUses) {
  Job("a", {1, 2, 3, 4, 5, 6, 7, 8});
  Edit("a", [](JobRecord* record) {
    record->ledger.set_resume_name(Name("a", 1));  // an open attempt
    record->ledger.set_resume_from(Name("a", 2));  // Resume(from_checkpoint)
  });
  AddJob(*store_, "based", RunDir("based"), "init_from: {checkpoint: jobs/a}");
  Edit("based", [](JobRecord* record) { record->ledger.set_init_name(Name("a", 3)); });
  AddJob(*store_, "waits", RunDir("waits"), "init_from: {checkpoint: " + Name("a", 4) + "}");
  ASSERT_OK(store_->Change([&](Transaction& t) {
    return StoreDependency(
        t.db(),
        {.job = "waits", .on_job = "a", .condition = v1::DependencyConfig::CONDITION_CHECKPOINT});
  }));
  downloads_ = {Name("a", 5)};
  housekeeping_->Hold(Name("a", 6));  // a verification
  EXPECT_THAT(Removed(Collect("a")), ElementsAre("c7"));
  housekeeping_->Release(Name("a", 6));
  downloads_.clear();
  EXPECT_THAT(Removed(Collect("a")), UnorderedElementsAre("c5", "c6"));
  for (const char* id : {"based", "waits"}) {
    Edit(id, [](JobRecord* record) { record->job.set_state(v1::Job::CANCELLED); });
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return DeleteDependency(
          t.db(),
          {.job = "waits", .on_job = "a", .condition = v1::DependencyConfig::CONDITION_CHECKPOINT});
    }));
  }
  EXPECT_THAT(Removed(Collect("a")), UnorderedElementsAre("c3", "c4"));
}

TEST_F(CollectGarbageTest, FinishesARemovalThatACrashInterrupted) {
  Job("a", {1, 2, 3});
  Edit("a", [](JobRecord* record) { record->job.set_state(v1::Job::SUCCEEDED); });
  // Marked, and nothing removed yet.
  EditCheckpoint("a", 1, [](v1::Checkpoint* checkpoint) { checkpoint->set_deleted(true); });
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreRemoval(t.db(), "a", "c1"); }));
  const Housekeeping::Garbage plan = Collect("a", /*dry_run=*/true);
  ASSERT_EQ(plan.leftovers.size(), 1u);
  EXPECT_EQ(plan.leftovers[0].path, RunDir("a") + "/checkpoints/c1");
  EXPECT_EQ(plan.leftovers[0].bytes, 1);
  Open();
  ASSERT_OK(housekeeping_->Recover());
  WaitForDisk();
  EXPECT_THAT(Folders("a"), ElementsAre("c3"));
  EXPECT_THAT(Collect("a", /*dry_run=*/true).leftovers, IsEmpty());
  const auto left = store_->Read([](Connection& db) { return JobsWithRemovals(db); });
  EXPECT_THAT(*left, IsEmpty());
}

TEST_F(CollectGarbageTest, RemovesTheTrash) {
  Job("a", {3});
  for (const std::string& trash : {RunDir("a") + "/.trash/c1", dir_ / "runs/.trash/gone"}) {
    std::filesystem::create_directories(trash);
    std::ofstream(trash + "/weights") << "12345";
  }
  EXPECT_EQ(Collect("a", /*dry_run=*/true).leftovers.size(), 1u);
  EXPECT_EQ(Collect("a").leftovers[0].bytes, 5);
  EXPECT_FALSE(std::filesystem::exists(RunDir("a") + "/.trash/c1"));
  EXPECT_EQ(housekeeping_->CollectTrash(/*dry_run=*/true)->size(), 1u);
  EXPECT_EQ((*housekeeping_->CollectTrash(false))[0].path, dir_ / "runs/.trash/gone");
  EXPECT_FALSE(std::filesystem::exists(dir_ / "runs/.trash/gone"));
  EXPECT_THAT(*housekeeping_->CollectTrash(true), IsEmpty());
}

TEST_F(CollectGarbageTest, ManyRemovalsTakeSeveralTransactions) {
  std::vector<int64_t> steps;
  for (int64_t step = 1; step <= 350; ++step) steps.push_back(step);
  Job("a", steps);
  const Housekeeping::Garbage garbage = Collect("a");
  EXPECT_EQ(Removed(garbage).size(), 349u);
  EXPECT_EQ(garbage.checkpoints.size(), 350u);
  EXPECT_THAT(Folders("a"), ElementsAre("c350"));
  EXPECT_EQ(Deleted(), 349);
}

TEST_F(CollectGarbageTest, ExpiresByTheClock) {
  Job("a", {1, 2, 3}, "keep_last: 9, ttl: 5h");
  EditCheckpoint("a", 1, [&](v1::Checkpoint* checkpoint) {
    *checkpoint->mutable_expire_time() = ToProto(clock_.Now() + absl::Hours(2));
  });
  // Retention notes when it has to look again.
  const auto sweep = [&] {
    housekeeping_->Expire();
    WaitForDisk();
    WaitForDisk();
    return Folders("a");
  };
  Collect("a");
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(sweep().size(), 3u);
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(sweep(), UnorderedElementsAre("c2", "c3"));
  clock_.Advance(absl::Hours(9));
  EXPECT_EQ(sweep().size(), 2u) << "ttl is for ended jobs";
  Edit("a", [](JobRecord* record) { record->job.set_state(v1::Job::SUCCEEDED); });
  housekeeping_->Retain("a");
  WaitForDisk();
  EXPECT_THAT(Folders("a"), ElementsAre("c3"));
}

TEST_F(CollectGarbageTest, AnEndedJobExpiresWithoutAnyCall) {
  Job("a", {1, 2, 3}, "keep_last: 9, ttl: 5h");
  Edit("a", [](JobRecord* record) { record->job.set_state(v1::Job::SUCCEEDED); });
  housekeeping_->Retain("a");  // as at the end of the job
  WaitForDisk();
  EXPECT_EQ(Folders("a").size(), 3u);
  clock_.Advance(absl::Hours(5));
  housekeeping_->Expire();
  WaitForDisk();
  WaitForDisk();
  EXPECT_THAT(Folders("a"), ElementsAre("c3"));
  // What it keeps although it has expired is not due again and again.
  const auto due =
      store_->Read([&](Connection& db) { return JobsWithDueCheckpoints(db, clock_.Now(), 10); });
  EXPECT_THAT(*due, IsEmpty());
}

TEST_F(CollectGarbageTest, RepeatsARemovalThatCouldNotBeStored) {
  Job("a", {1, 2, 3});
  ASSERT_OK(store_->Change([&](Transaction& t) {
    return t.db().Execute(
        "CREATE TRIGGER broken BEFORE INSERT ON checkpoint_removals BEGIN SELECT RAISE(ABORT, "
        "'broken'); END");
  }));
  housekeeping_->Retain("a");
  WaitForDisk();
  EXPECT_EQ(Deleted(), 0);
  EXPECT_EQ(Folders("a").size(), 3u) << "no files go while their rows cannot be marked";
  ASSERT_OK(store_->Change([&](Transaction& t) { return t.db().Execute("DROP TRIGGER broken"); }));
  housekeeping_->RetryFailed();
  WaitForDisk();
  EXPECT_THAT(Folders("a"), ElementsAre("c3"));
  EXPECT_EQ(Deleted(), 2);
}

TEST_F(CollectGarbageTest, FreesADiskOnWhichTheDatabaseCannotGrow) {
  FullDiskVfs& disk = FullDiskVfs::Get();
  vfs_ = FullDiskVfs::kName;
  Open();
  Job("a", {1, 2, 3});
  disk.writes_fail = true;
  housekeeping_->Retain("a");
  WaitForDisk();
  EXPECT_EQ(Folders("a").size(), 2u) << "files make room before their rows can be marked";
  EXPECT_EQ(Deleted(), 0);
  disk.writes_fail = false;
  housekeeping_->RetryFailed();
  WaitForDisk();
  EXPECT_THAT(Folders("a"), ElementsAre("c3"));
  EXPECT_EQ(Deleted(), 2);
}

}  // namespace
}  // namespace trainerd::server
