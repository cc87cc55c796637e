// SPDX-License-Identifier: Apache-2.0
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/run_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class RowsTest : public ::testing::Test {
 protected:
  RowsTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = recorder_.Listener(),
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::vector<std::string> Queue(const std::string& device) {
    std::vector<std::string> ids;
    EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
      auto entries = ListQueue(db, {.device = device, .now = clock_.Now(), .aging = aging_}, 10);
      for (const QueueEntry& entry : *entries) ids.push_back(entry.id);
      return entries.status();
    }));
    return ids;
  }
  TempDir dir_;
  FakeClock clock_;
  absl::Duration aging_ = absl::ZeroDuration();
  EventRecorder recorder_;
  std::unique_ptr<Store> store_;
};

TEST_F(RowsTest, StoresJobWithProgressAndLedgerAndChangesEtag) {
  JobRecord record = AddJob(*store_, "a", dir_ / "runs/a", "name: x\nlabels: {team: t}");
  const std::string first = record.job.etag();
  ASSERT_OK(store_->Change([&](Transaction& t) {
    record.job.mutable_progress()->set_step(7);
    record.ledger.set_retries(2);
    return StoreJob(t.db(), &record);
  }));
  ASSERT_OK(store_->Change([&](Transaction& t) {
    record.job.mutable_progress()->set_step(8);
    return StoreProgress(t.db(), &record);
  }));
  const JobRecord loaded = Load(*store_, "a");
  EXPECT_EQ(loaded.job.progress().step(), 8);
  EXPECT_EQ(loaded.ledger.retries(), 2);
  EXPECT_EQ(loaded.job.config().labels().at("team"), "t");
  EXPECT_EQ(loaded.job.etag(), first) << "the state alone does not change the etag";
  EXPECT_EQ(loaded.job.etag(), record.job.etag()) << "progress alone does not change the etag";
}

TEST_F(RowsTest, MissingJobIsNotFoundWithAdvice) {
  absl::Status status = store_->Read([&](Connection& db) { return LoadJob(db, "nope").status(); });
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_NE(status.message().find("trainctl ls"), absl::string_view::npos);
}

TEST_F(RowsTest, KeepsTheRepliesOfYoungRequests) {
  const absl::Time start = clock_.Now();
  const auto remaining = [&] {
    std::string ids;
    EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
      for (const char* id : {"z", "a", "m", "b"}) {
        ASSIGN_OR_RETURN(const auto row, FindRequest(db, id));
        if (row.has_value()) ids += id;
      }
      return absl::OkStatus();
    }));
    return ids;
  };
  const auto prune = [&](absl::Duration age) {
    ASSERT_OK(store_->Change([&](Transaction& t) { return PruneRequests(t.db(), start + age); }));
  };
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    const auto add = [&](const char* id, absl::Duration age) {
      return StoreRequest(t.db(), id, {"Pause", "hash", "reply"}, start + age);
    };
    RETURN_IF_ERROR(add("z", absl::Seconds(1)));
    RETURN_IF_ERROR(add("a", absl::Seconds(2)));
    RETURN_IF_ERROR(add("m", absl::Seconds(4)));
    return add("b", absl::Seconds(3));  // the clock was set back
  }));
  prune(absl::Seconds(1));
  EXPECT_EQ(remaining(), "zamb");
  prune(absl::Seconds(2));
  EXPECT_EQ(remaining(), "amb");
  prune(absl::Seconds(4));
  EXPECT_EQ(remaining(), "mb");
  prune(absl::Seconds(5));
  EXPECT_EQ(remaining(), "");
}

TEST_F(RowsTest, KnowsWhichJobsExist) {
  AddJob(*store_, "a", dir_ / "runs/a");
  ASSERT_OK(store_->Read([&](Connection& db) -> absl::Status {
    EXPECT_TRUE(*JobExists(db, "a"));
    EXPECT_FALSE(*JobExists(db, "b"));
    return absl::OkStatus();
  }));
}

TEST_F(RowsTest, QueueIsFifoWithinPriority) {
  AddJob(*store_, "low", dir_ / "l", "priority: -1");
  AddJob(*store_, "first", dir_ / "f");
  AddJob(*store_, "second", dir_ / "s");
  AddJob(*store_, "high", dir_ / "h", "priority: 5");
  AddJob(*store_, "other", dir_ / "o", "resources: {device: cpu}");
  EXPECT_EQ(Queue("auto"), (std::vector<std::string>{"high", "first", "second", "low"}));
  EXPECT_EQ(Queue("cpu"), (std::vector<std::string>{"other"}));
}

TEST_F(RowsTest, OmitsHeldAndDelayedJobsFromQueue) {
  for (const char* id : {"held", "later", "free", "disk", "timed", "depends"}) {
    JobRecord record = AddJob(*store_, id, dir_ / id);
    ASSERT_OK(store_->Change([&](Transaction& t) {
      if (record.job.name() == "jobs/disk") record.job.set_wait_reason(v1::Job::DISK);
      if (record.job.name() == "jobs/timed") record.job.set_wait_reason(v1::Job::NOT_BEFORE);
      if (record.job.name() == "jobs/depends") record.job.set_wait_reason(v1::Job::DEPENDENCY);
      if (record.job.name() == "jobs/held") record.job.set_wait_reason(v1::Job::HELD);
      if (record.job.name() == "jobs/later") {
        record.job.set_wait_reason(v1::Job::BACKOFF);
        *record.job.mutable_not_before() = ToProto(clock_.Now() + absl::Seconds(5));
      }
      return StoreJob(t.db(), &record);
    }));
  }
  EXPECT_EQ(Queue("auto"), (std::vector<std::string>{"free"}));
  clock_.Advance(absl::Seconds(6));
  EXPECT_EQ(Queue("auto"), (std::vector<std::string>{"later", "free"}));
}

TEST_F(RowsTest, RefusesSecondOpenAttemptOfJob) {
  AddJob(*store_, "a", dir_ / "a");
  auto attempt = [](int number) {
    v1::Attempt a;
    a.set_job("jobs/a");
    a.set_number(number);
    return a;
  };
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreAttempt(t.db(), attempt(1)); }));
  EXPECT_FALSE(
      store_->Change([&](Transaction& t) { return StoreAttempt(t.db(), attempt(2)); }).ok());
  ASSERT_OK(store_->Change([&](Transaction& t) {
    v1::Attempt ended = attempt(1);
    ended.set_end(v1::Attempt::CRASHED);
    return StoreAttempt(t.db(), ended);
  }));
  EXPECT_OK(store_->Change([&](Transaction& t) { return StoreAttempt(t.db(), attempt(2)); }));
}

TEST_F(RowsTest, DeletesAttemptsCheckpointsAndEventsWithJob) {
  AddJob(*store_, "a", dir_ / "a");
  AddJob(*store_, "b", dir_ / "b");
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    v1::Attempt attempt;
    attempt.set_job("jobs/a");
    attempt.set_number(1);
    EXPECT_OK(StoreAttempt(t.db(), attempt));
    EXPECT_OK(StoreSpoolPosition(t.db(), "a", 1, {2, 30}));
    v1::Checkpoint checkpoint;
    checkpoint.set_name("jobs/a/checkpoints/c");
    checkpoint.set_job("jobs/a");
    return StoreCheckpoint(t.db(), checkpoint);
  }));
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), "a"); }));
  ASSERT_OK(store_->Read([&](Connection& db) -> absl::Status {
    EXPECT_TRUE(absl::IsNotFound(LoadJob(db, "a").status()));
    for (const char* sql : {"SELECT count(*) FROM attempts", "SELECT count(*) FROM spool_positions",
                            "SELECT count(*) FROM checkpoints"}) {
      Query query(db, sql);
      EXPECT_TRUE(query.Step());
      EXPECT_EQ(query.Int(0), 0) << sql;
    }
    EXPECT_EQ(ReadEvents(db, "", 0, 100)->size(), 1u);
    return absl::OkStatus();
  }));
}

TEST_F(RowsTest, ExpiresMetricsButKeepsStateEvents) {
  JobRecord record = AddJob(*store_, "a", dir_ / "a");
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    for (int step = 1; step <= 3; ++step) {
      v1::Event event;
      event.set_job("jobs/a");
      event.mutable_metrics()->set_step(step);
      EXPECT_OK(t.Append(event));
    }
    return ApplyTransition(t, {.to = v1::Job::CANCELLED, .desired_state = v1::Job::DESIRED_DISCARD},
                           &record);
  }));
  auto prune = [&](absl::Duration age) {
    int pruned = -1;
    EXPECT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      auto result = PruneEvents(t.db(), clock_.Now() - age, 10);
      pruned = *result;
      return result.status();
    }));
    return pruned;
  };
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(prune(absl::Minutes(30)), 0) << "its metrics are not kept as columns yet";
  CompactAllMetrics(*store_);
  EXPECT_EQ(prune(absl::Hours(2)), 0);
  EXPECT_EQ(prune(absl::Minutes(30)), 1);
  EXPECT_EQ(prune(absl::Minutes(30)), 0) << "done once";
  ASSERT_OK(store_->Read([&](Connection& db) -> absl::Status {
    auto records = ReadEvents(db, "a", 0, 100);
    EXPECT_EQ(records->size(), 2u);
    for (const char* job : {"a", ""}) {
      EXPECT_EQ(*LostThrough(db, job, /*types=*/0), 4) << job;
      EXPECT_EQ(*LostThrough(db, job, uint64_t{1} << v1::Event::kMetrics), 4) << job;
      EXPECT_EQ(*LostThrough(db, job, uint64_t{1} << v1::Event::kNotice), 0) << "there was none";
      EXPECT_EQ(*LostThrough(db, job, uint64_t{1} << v1::Event::kStateChanged), 0) << "kept";
    }
    return records.status();
  }));
}

TEST_F(RowsTest, ANoticeOfTheDaemonHasNoJob) {
  ASSERT_OK(store_->Change([](Transaction& t) {
    v1::Event event;
    event.mutable_notice()->set_code("CERTIFICATE_MISMATCH");
    return t.Append(event);
  }));
  const auto events = *store_->Read([](Connection& db) { return ReadEvents(db, "", 0, 10); });
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].job, "");
  v1::Event event;
  ASSERT_TRUE(event.ParseFromString(*events[0].bytes));
  EXPECT_EQ(event.job(), "");
}

}  // namespace
}  // namespace trainerd::server
