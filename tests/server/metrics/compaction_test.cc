// SPDX-License-Identifier: Apache-2.0
#include "server/metrics/compaction.h"

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "server/metrics/compactor.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class CompactionTest : public ::testing::Test {
 protected:
  void Open() {
    store_.reset();
    auto store = Store::Open(
        {.path = dir_ / "trainerd.db", .listener = [this](const std::vector<EventRecord>& records) {
           if (compactor_ != nullptr) compactor_->Note(records);
         }});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  void SetUp() override { Open(); }

  int64_t Add(const std::string& id) { return AddJob(*store_, id, dir_ / id).number; }
  void Train(const std::string& id, int64_t first, int64_t last, int attempt = 1) {
    for (int64_t step = first; step <= last;) {
      ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
        for (int i = 0; i < 200 && step <= last; ++i, ++step) {
          v1::Event event;
          event.set_job(JobName(id));
          event.set_attempt(attempt);
          event.mutable_metrics()->set_step(step);
          event.mutable_metrics()->set_loss(static_cast<double>(step));
          EXPECT_OK(t.Append(event));
        }
        return absl::OkStatus();
      }));
    }
  }
  void End(const std::string& id) {
    JobRecord record = Load(*store_, id);
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return ApplyTransition(
          t, {.to = v1::Job::CANCELLED, .desired_state = v1::Job::DESIRED_DISCARD}, &record);
    }));
  }
  MetricState State(int64_t job) {
    auto state = store_->Read([&](Connection& db) { return LoadMetricState(db, job); });
    EXPECT_OK(state.status());
    return *state;
  }
  // Steps of the losses in all chunks, which must be the numbers from 1 on.
  int64_t StoredSteps(int64_t job) {
    int64_t expected = 1;
    EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
      const auto chunks = ListMetricChunks(db, job);
      for (const MetricChunk& chunk : *chunks) {
        internal::MetricColumns columns;
        EXPECT_TRUE(columns.ParseFromString(*LoadMetricBlob(db, chunk.number, MetricBlob::kFine)));
        DecodeMetrics(
            columns, [](const std::string& name) { return name == "loss"; },
            [&](const std::string&, const MetricData& data) {
              EXPECT_EQ(data.steps.front(), chunk.first_step);
              EXPECT_EQ(data.steps.back(), chunk.last_step);
              for (int64_t step : data.steps) EXPECT_EQ(step, expected++);
            });
      }
      return chunks.status();
    }));
    return expected - 1;
  }
  void WaitUntilComplete(int64_t job) {
    const absl::Time end = absl::Now() + absl::Seconds(60);
    while (!State(job).complete && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_TRUE(State(job).complete);
  }

  TempDir dir_;
  std::unique_ptr<MetricCompactor> compactor_;
  std::unique_ptr<Store> store_;
};

TEST_F(CompactionTest, RunningJobGetsFullChunksOnly) {
  const int64_t job = Add("a");
  Train("a", 1, kChunkEvents - 1);
  EXPECT_THAT(*CompactMetrics(*store_, {job}), IsEmpty());
  EXPECT_EQ(StoredSteps(job), 0);
  Train("a", kChunkEvents, 2 * kChunkEvents + 10);
  EXPECT_THAT(*CompactMetrics(*store_, {job}), ElementsAre(job)) << "it has more";
  EXPECT_EQ(StoredSteps(job), kChunkEvents);
  EXPECT_THAT(*CompactMetrics(*store_, {job}), ElementsAre(job));
  EXPECT_THAT(*CompactMetrics(*store_, {job}), IsEmpty());
  EXPECT_EQ(StoredSteps(job), 2 * kChunkEvents);
  EXPECT_FALSE(State(job).complete);
  EXPECT_THAT(State(job).names, ElementsAre("loss"));
}

TEST_F(CompactionTest, EndedJobGetsTheRestOnce) {
  const int64_t job = Add("a"), idle = Add("b");
  Train("a", 1, 10);
  End("a");
  End("b");
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(*CompactMetrics(*store_, {job, idle, 77}), IsEmpty());
    EXPECT_EQ(StoredSteps(job), 10);
    EXPECT_TRUE(State(job).complete);
    EXPECT_TRUE(State(idle).complete);
  }
  const auto rest = store_->Read([](Connection& db) { return ListIncompleteMetrics(db, 0, 100); });
  EXPECT_THAT(rest->job_numbers, IsEmpty());
}

// What another change does between the read and the change of a step must not be lost or doubled.
TEST_F(CompactionTest, StepsThatOverlapStoreEachEventOnce) {
  const int64_t job = Add("a");
  Train("a", 1, 5000);
  End("a");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!State(job).complete) EXPECT_OK(CompactMetrics(*store_, {job}).status());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(StoredSteps(job), 5000);
}

TEST_F(CompactionTest, JobThatIsDeletedMeanwhileIsSkipped) {
  const int64_t job = Add("a"), other = Add("b");
  Train("a", 1, 5);
  End("a");
  End("b");
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), "b"); }));
  EXPECT_OK(CompactMetrics(*store_, {other, job}).status());
  EXPECT_EQ(StoredSteps(job), 5);
}

TEST_F(CompactionTest, CompactorCatchesUpAfterARestartAndFollows) {
  const int64_t left = Add("a"), running = Add("b");
  Train("a", 1, 3000);
  End("a");
  Train("b", 1, 100);
  // As after kill -9: one step was stored, the next was not.
  ASSERT_OK(CompactMetrics(*store_, {left}).status());
  Open();
  compactor_ = std::make_unique<MetricCompactor>();
  compactor_->Start(*store_);
  WaitUntilComplete(left);
  EXPECT_EQ(StoredSteps(left), 3000);
  Train("b", 101, 5000);
  End("b");
  WaitUntilComplete(running);
  EXPECT_EQ(StoredSteps(running), 5000);
  compactor_->Stop();
}

TEST_F(CompactionTest, StopReturnsAtOnceWithWorkLeft) {
  for (int i = 0; i < 50; ++i) {
    const std::string id = absl::StrCat("j", i);
    Add(id);
    Train(id, 1, 400);
    End(id);
  }
  compactor_ = std::make_unique<MetricCompactor>();
  compactor_->Start(*store_);
  compactor_->Stop();
  compactor_->Stop();
  compactor_.reset();
}

}  // namespace
}  // namespace trainerd::server
