// SPDX-License-Identifier: Apache-2.0
// Group commit: a change is stored completely or not at all, a failed change does not affect others
// of its group, and an acknowledged change is there after reopening.
#include "server/store/writer.h"

#include <thread>

#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

v1::Event NoticeEvent(const std::string& text) {
  v1::Event event;
  event.set_job("jobs/a");
  event.mutable_notice()->set_message(text);
  return event;
}

absl::Status PutMeta(Connection& db, const std::string& key) {
  Query query(db, "INSERT INTO meta VALUES (?, 1)");
  return query.Bind(key).Run();
}

int64_t CountMeta(Store& store) {
  int64_t count = 0;
  EXPECT_OK(store.Read([&](Connection& db) {
    Query query(db, "SELECT count(*) FROM meta WHERE key LIKE 'k%'");
    if (query.Step()) count = query.Int(0);
    return query.status();
  }));
  return count;
}

class WriterTest : public ::testing::Test {
 protected:
  void Open() {
    store_.reset();
    auto store = Store::Open({.path = dir_ / "trainerd.db", .listener = recorder_.Listener()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  TempDir dir_;
  EventRecorder recorder_;
  std::unique_ptr<Store> store_;
};

TEST_F(WriterTest, FailedChangeStoresNothingAndAffectsNoOther) {
  Open();
  std::vector<absl::Status> results(3);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      results[i] = store_->Change([i](Transaction& t) -> absl::Status {
        EXPECT_OK(PutMeta(t.db(), "k" + std::to_string(i)));
        EXPECT_OK(t.Append(NoticeEvent(std::to_string(i))));
        return i == 1 ? absl::AbortedError("no") : absl::OkStatus();
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_OK(results[0]);
  EXPECT_TRUE(absl::IsAborted(results[1]));
  EXPECT_OK(results[2]);
  EXPECT_EQ(CountMeta(*store_), 2);
  const std::vector<v1::Event> events = recorder_.Events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].seq(), 1);
  EXPECT_EQ(events[1].seq(), 2) << "a change that failed uses up no sequence number";
}

TEST_F(WriterTest, KeepsChangesAndSequenceAcrossReopen) {
  Open();
  ASSERT_OK(store_->Change([](Transaction& t) { return t.Append(NoticeEvent("one")); }));
  Open();
  ASSERT_OK(store_->Change([](Transaction& t) { return t.Append(NoticeEvent("two")); }));
  const std::vector<v1::Event> events = recorder_.Events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].seq(), 2);
}

TEST_F(WriterTest, EventsOfOneChangeHaveSameChangeNumber) {
  Open();
  ASSERT_OK(store_->Change([](Transaction& t) -> absl::Status {
    EXPECT_OK(t.Append(NoticeEvent("a")));
    return t.Append(NoticeEvent("b"));
  }));
  ASSERT_OK(store_->Change([](Transaction& t) { return t.Append(NoticeEvent("c")); }));
  ASSERT_EQ(recorder_.records.size(), 3u);
  EXPECT_EQ(recorder_.records[0].change, 1);
  EXPECT_EQ(recorder_.records[1].change, 1);
  EXPECT_EQ(recorder_.records[2].change, 3);
}

TEST_F(WriterTest, LimitsChangeTo256Events) {
  Open();
  absl::Status status = store_->Change([](Transaction& t) -> absl::Status {
    for (int i = 0; i < kMaxChangeEvents + 1; ++i) {
      absl::Status appended = t.Append(NoticeEvent("x"));
      if (!appended.ok()) return appended;
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(recorder_.Events().empty());
}

TEST_F(WriterTest, StoresEachChangeOfManyThreadsOnce) {
  Open();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 50; ++i) {
        EXPECT_OK(store_->Change([&](Transaction& t) {
          return PutMeta(t.db(), "k" + std::to_string(thread * 1000 + i));
        }));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(CountMeta(*store_), 200);
}

}  // namespace
}  // namespace trainerd::server
