// SPDX-License-Identifier: Apache-2.0
// The index of jobs equals what a transaction reads, whatever changes meanwhile.
#include "server/store/job_index.h"

#include <atomic>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/store/rows/label_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

// By number: state, priority, name, owner and the label "k".
using Rows = std::map<int64_t, std::string>;

class JobIndexTest : public ::testing::Test {
 protected:
  JobIndexTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db"});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
  }

  static std::string Text(int64_t state, int64_t priority, std::string_view name,
                          std::string_view owner, std::string_view label) {
    return absl::StrCat(state, " ", priority, " ", std::string(name), " ", std::string(owner), " ",
                        std::string(label));
  }
  // Of the index, and of the database in the same transaction.
  std::pair<Rows, Rows> Both() {
    Rows indexed, stored;
    EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
      const absl::Status searched =
          store_->job_index().Search(db, [&](const IndexedJobs& all) -> absl::Status {
            for (const IndexedJob& job : all.jobs) {
              indexed[job.number] = Text(job.state, job.priority, job.name(), all.owners[job.owner],
                                         job.Label("k").value_or("-"));
            }
            return absl::OkStatus();
          });
      if (!searched.ok()) return searched;
      Query query(db,
                  "SELECT number, state, priority, name, owner, (SELECT value FROM job_labels "
                  "WHERE job_labels.number = jobs.number AND key = 'k') FROM jobs");
      while (query.Step()) {
        stored[query.Int(0)] = Text(query.Int(1), query.Int(2), query.Text(3), query.Text(4),
                                    query.Text(5).empty() ? "-" : query.Text(5));
      }
      return query.status();
    }));
    return {indexed, stored};
  }
  void ExpectSame() {
    const auto [indexed, stored] = Both();
    EXPECT_EQ(indexed, stored);
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(JobIndexTest, FollowsEachChange) {
  ExpectSame();
  AddJob(*store_, "a", dir_ / "r", "labels: {k: v, other: w}");
  AddJob(*store_, "b", dir_ / "r", "priority: 4");
  ExpectSame();
  JobRecord record = Load(*store_, "a");
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    record.job.mutable_config()->set_priority(9);
    record.job.mutable_config()->set_name("renamed");
    EXPECT_OK(ChangeLabels(t.db(), "a", 1, record.job.config().labels(), {}));
    return StoreJob(t.db(), &record);
  }));
  ExpectSame();
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), "a"); }));
  ExpectSame();
  // The highest number is given away again.
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), "b"); }));
  AddJob(*store_, "c", dir_ / "r", "name: other");
  ExpectSame();
  EXPECT_EQ(Both().first.size(), 1u);
}

TEST_F(JobIndexTest, ShowsNothingOfAChangeThatFails) {
  AddJob(*store_, "a", dir_ / "r");
  ExpectSame();
  EXPECT_FALSE(store_
                   ->Change([&](Transaction& t) -> absl::Status {
                     EXPECT_OK(t.db().Execute("UPDATE jobs SET priority = 77"));
                     return absl::AbortedError("undone");
                   })
                   .ok());
  ExpectSame();
}

TEST_F(JobIndexTest, RefusesATransactionThatHasRead) {
  const absl::Status late = store_->Read([&](Connection& db) -> absl::Status {
    EXPECT_FALSE(JobExists(db, "a").value_or(true));
    return store_->job_index().Search(db, [](const IndexedJobs&) { return absl::OkStatus(); });
  });
  EXPECT_TRUE(absl::IsFailedPrecondition(late)) << late;
}

TEST_F(JobIndexTest, FindsLabelsOnlyByTheirWholeKey) {
  AddJob(*store_, "a", dir_ / "r", "labels: {k: v, kk: '', v: k}");
  EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
    return store_->job_index().Search(db, [](const IndexedJobs& all) -> absl::Status {
      const IndexedJob* const job = all.Find(1);
      EXPECT_TRUE(job != nullptr && all.Find(2) == nullptr);
      EXPECT_EQ(job->Label("k"), "v");
      EXPECT_EQ(job->Label("kk"), "");
      EXPECT_EQ(job->Label("v"), "k");
      EXPECT_EQ(job->Label(""), std::nullopt);
      EXPECT_EQ(job->Label("kkk"), std::nullopt);
      return absl::OkStatus();
    });
  }));
}

// Readers at once with a writer: each sees the index of its own transaction.
TEST_F(JobIndexTest, EqualsTheDatabaseWhileItChanges) {
  for (int i = 0; i < 40; ++i) AddJob(*store_, absl::StrCat("j", i), dir_ / "r");
  std::atomic<bool> done = false;
  std::vector<std::thread> readers;
  std::atomic<int> reads = 0;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        ExpectSame();
        ++reads;
      }
    });
  }
  for (int i = 0; i < 300 || reads < 30; ++i) {
    EXPECT_OK(store_->Change([&](Transaction& t) {
      return t.db().Execute(absl::StrCat("UPDATE jobs SET priority = ", i, " WHERE number % 3 = ",
                                         i % 3, "; DELETE FROM jobs WHERE number = ", i % 400));
    }));
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  ExpectSame();
}

}  // namespace
}  // namespace trainerd::server
