// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/ledger.h"

#include <functional>
#include <set>

#include "proto/base/status_macros.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

CheckpointRow Row(int64_t number, int64_t step, const std::string& parent = "") {
  CheckpointRow row{.number = number};
  row.checkpoint.set_name("jobs/a/checkpoints/" + std::to_string(step));
  row.checkpoint.set_job("jobs/a");
  row.checkpoint.set_step(step);
  row.checkpoint.set_verified(true);
  row.checkpoint.set_parent(parent);
  return row;
}

TEST(ResumePointTest, IsTheNewestVerifiedOnTheLineage) {
  std::vector<CheckpointRow> rows = {Row(4, 40), Row(3, 30), Row(2, 20), Row(1, 10)};
  rows[0].checkpoint.set_verified(false);
  rows[1].checkpoint.set_superseded(true);
  EXPECT_EQ(ResumePoint(rows)->step(), 20);
  rows[2].checkpoint.set_deleted(true);
  EXPECT_EQ(ResumePoint(rows)->step(), 10);
  EXPECT_FALSE(ResumePoint({}).has_value());
}

TEST(ResumePointTest, ChoosesByStepNotByOrderOfRows) {
  EXPECT_EQ(ResumePoint({Row(1, 10), Row(2, 30), Row(3, 20)})->step(), 30);
}

TEST(IsOnLineageTest, FollowsParents) {
  std::vector<CheckpointRow> rows = {Row(2, 20, "jobs/a/checkpoints/10"), Row(1, 10)};
  EXPECT_TRUE(IsOnLineage(rows, "jobs/a/checkpoints/20"));
  rows[0].checkpoint.set_superseded(true);
  EXPECT_FALSE(IsOnLineage(rows, "jobs/a/checkpoints/20"));
  EXPECT_FALSE(IsOnLineage(rows, "")) << "another beginning";
  EXPECT_TRUE(IsOnLineage({}, ""));
  EXPECT_TRUE(IsOnLineage({}, "jobs/base/checkpoints/5")) << "began from another job's checkpoint";
}

class LedgerTest : public ::testing::Test {
 protected:
  LedgerTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = recorder_.Listener(),
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void AddBestJob(const std::string& mode = "min") {
    AddJob(*store_, "a", dir_ / "a",
           "evaluation: {remote: [{name: r, suite: s}], best: {metric: remote.r.x, mode: " + mode +
               "}}");
  }
  // Publishes a verified checkpoint with this value of the metric.
  void Publish(int64_t step, double value, const std::string& parent = "") {
    Change([&](Transaction& t, JobRecord* record) -> absl::Status {
      v1::Checkpoint checkpoint = Row(0, step, parent).checkpoint;
      v1::Measurement measurement;
      measurement.set_name("remote.r.x");
      measurement.set_value(value);
      RETURN_IF_ERROR(RecordCheckpoint(t, checkpoint, v1::CheckpointEvent::PUBLISHED, ""));
      RETURN_IF_ERROR(RecordMeasurements(t, {measurement}, checkpoint, record));
      return UpdateResumePoint(t, record).status();
    });
  }
  void Change(const std::function<absl::Status(Transaction&, JobRecord*)>& change) {
    ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), "a"));
      RETURN_IF_ERROR(change(t, &record));
      return StoreJob(t.db(), &record);
    }));
  }
  v1::Job Job() { return Load(*store_, "a").job; }
  v1::Checkpoint Checkpoint(int64_t step) {
    auto row =
        store_->Read([&](Connection& db) { return FindCheckpoint(db, "a", std::to_string(step)); });
    EXPECT_TRUE(row.ok() && row->has_value()) << step;
    return (*row)->checkpoint;
  }
  // "10 BECAME_BEST, …" of all events of these kinds.
  std::string Events(std::set<v1::CheckpointEvent::Kind> kinds) {
    std::string text;
    for (const v1::Event& event : recorder_.Events()) {
      if (!event.has_checkpoint() || !kinds.contains(event.checkpoint().kind())) continue;
      text += CheckpointId(event.checkpoint().checkpoint().name()) + " " +
              v1::CheckpointEvent::Kind_Name(event.checkpoint().kind()) + ", ";
    }
    return text;
  }

  TempDir dir_;
  FakeClock clock_;
  EventRecorder recorder_;
  std::unique_ptr<Store> store_;
};

TEST_F(LedgerTest, OneEventForEachCheckpointThatBecomesBest) {
  AddBestJob();
  for (const auto& [step, loss] :
       std::vector<std::pair<int64_t, double>>{{10, 3}, {20, 2}, {30, 2.5}, {40, 2}, {50, 1}})
    Publish(step, loss);
  EXPECT_EQ(Events({v1::CheckpointEvent::BECAME_BEST}),
            "10 BECAME_BEST, 20 BECAME_BEST, 50 BECAME_BEST, ");
  EXPECT_EQ(Job().best_checkpoint(), "jobs/a/checkpoints/50");
  EXPECT_EQ(Job().best_value(), 1);
  EXPECT_TRUE(Checkpoint(50).best());
  for (int64_t step : {10, 20, 30, 40}) EXPECT_FALSE(Checkpoint(step).best()) << step;
}

TEST_F(LedgerTest, AResultThatComesLaterCanChangeWhichIsBest) {
  AddBestJob("max");
  Publish(10, 1);
  Publish(20, 2);
  v1::Measurement measurement;
  measurement.set_name("remote.r.x");
  for (double value : {5.0, 0.5}) {
    measurement.set_value(value);
    Change([&](Transaction& t, JobRecord* record) {
      return RecordMeasurements(t, {measurement}, Checkpoint(10), record);
    });
    EXPECT_EQ(Job().best_checkpoint(),
              value > 2 ? "jobs/a/checkpoints/10" : "jobs/a/checkpoints/20");
    EXPECT_EQ(Job().best_value(), std::max(2.0, value));
  }
}

TEST_F(LedgerTest, ADamagedCheckpointIsNoLongerBest) {
  AddBestJob();
  Publish(10, 2);
  Publish(20, 1);
  ASSERT_OK(store_->Change(
      [&](Transaction& t) { return MarkCorruptInJob(t, Checkpoint(20), "it is damaged"); }));
  EXPECT_EQ(Job().best_checkpoint(), "jobs/a/checkpoints/10");
  EXPECT_EQ(Job().best_value(), 2);
  EXPECT_EQ(Job().latest_checkpoint(), "jobs/a/checkpoints/10");
  EXPECT_FALSE(Checkpoint(20).best());
  ASSERT_OK(store_->Change(
      [&](Transaction& t) { return MarkCorruptInJob(t, Checkpoint(10), "it is damaged"); }));
  EXPECT_EQ(Job().best_checkpoint(), "");
  EXPECT_FALSE(Job().has_best_value());
}

TEST_F(LedgerTest, WithoutBestNoneIs) {
  AddJob(*store_, "a", dir_ / "a");
  Publish(10, 1);
  EXPECT_EQ(Job().best_checkpoint(), "");
  EXPECT_EQ(Checkpoint(10).metrics(0).value(), 1) << "its metrics are recorded all the same";
}

TEST_F(LedgerTest, TheLineageFollowsTheCheckpointThatIsResumedFrom) {
  AddJob(*store_, "a", dir_ / "a");
  const std::string name = "jobs/a/checkpoints/";
  Publish(10, 1, "jobs/base/checkpoints/5");
  Publish(20, 1, name + "10");
  Publish(30, 1, name + "20");
  Publish(25, 1, name + "10");
  ASSERT_OK(store_->Change([&](Transaction& t) { return MakeLineage(t, Checkpoint(20)); }));
  EXPECT_EQ(Events({v1::CheckpointEvent::SUPERSEDED, v1::CheckpointEvent::UPDATED}),
            "25 SUPERSEDED, 30 SUPERSEDED, ");
  // One off the lineage comes back, with its parents.
  ASSERT_OK(store_->Change([&](Transaction& t) { return MakeLineage(t, Checkpoint(25)); }));
  for (const auto& [step, superseded] :
       std::vector<std::pair<int64_t, bool>>{{10, false}, {20, true}, {25, false}, {30, true}})
    EXPECT_EQ(Checkpoint(step).superseded(), superseded) << step;
  EXPECT_EQ(Events({v1::CheckpointEvent::UPDATED}), "25 UPDATED, ");
}

}  // namespace
}  // namespace trainerd::server
