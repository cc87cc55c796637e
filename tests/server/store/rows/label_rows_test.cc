// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/label_rows.h"

#include <map>

#include "gmock/gmock.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using Labels = std::map<std::string, std::string>;

class LabelRowsTest : public ::testing::Test {
 protected:
  LabelRowsTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db"});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
  }
  Labels At(const std::string& id, int64_t seq) {
    auto history = store_->Read([&](Connection& db) { return ReadLabelHistory(db, id); });
    EXPECT_OK(history.status());
    const LabelMap& labels = history->At(seq);
    return Labels(labels.begin(), labels.end());
  }
  void Change(const std::string& id, int64_t seq, const Labels& before, const Labels& after) {
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return ChangeLabels(t.db(), id, seq, LabelMap(before.begin(), before.end()),
                          LabelMap(after.begin(), after.end()));
    }));
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(LabelRowsTest, KnowsTheLabelsAtEachPosition) {
  AddJob(*store_, "a", dir_ / "a", "labels: {k: '1'}");
  AddJob(*store_, "b", dir_ / "b");
  Change("a", 10, {{"k", "1"}}, {{"k", "2"}, {"l", "x"}});
  Change("a", 20, {{"k", "2"}, {"l", "x"}}, {});
  EXPECT_THAT(At("a", 9), ElementsAre(Pair("k", "1")));
  EXPECT_THAT(At("a", 10), ElementsAre(Pair("k", "2"), Pair("l", "x")));
  EXPECT_THAT(At("a", 19), ElementsAre(Pair("k", "2"), Pair("l", "x")));
  EXPECT_THAT(At("a", 20), IsEmpty());
  EXPECT_THAT(At("b", 15), IsEmpty());
  EXPECT_THAT(At("none", 1), IsEmpty());
}

TEST_F(LabelRowsTest, LabelsOfADeletedJobHoldForItsLastEventButNotForTheNextJobOfThatId) {
  AddJob(*store_, "a", dir_ / "a", "labels: {k: '1'}");
  Change("a", 10, {{"k", "1"}}, {{"k", "2"}});
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    EXPECT_OK(CloseLabels(t.db(), "a", 30));
    return DeleteJobRows(t.db(), "a");
  }));
  EXPECT_THAT(At("a", 30), ElementsAre(Pair("k", "2")));
  AddJob(*store_, "a", dir_ / "a", "labels: {k: '3'}");
  EXPECT_THAT(At("a", 30), ElementsAre(Pair("k", "2")));
  EXPECT_THAT(At("a", 31), ElementsAre(Pair("k", "3")));
}

TEST_F(LabelRowsTest, JobsWithoutLabelsWriteNoRow) {
  AddJob(*store_, "a", dir_ / "a");
  AddJob(*store_, "b", dir_ / "b", "labels: {k: v}");
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    EXPECT_OK(CloseLabels(t.db(), "a", 5));
    return DeleteJobRows(t.db(), "a");
  }));
  EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
    Query query(db,
                "SELECT (SELECT count(*) FROM job_labels), (SELECT count(*) FROM label_changes)");
    EXPECT_TRUE(query.Step());
    EXPECT_EQ(query.Int(0), 1);
    EXPECT_EQ(query.Int(1), 0);
    return query.status();
  }));
}

}  // namespace
}  // namespace trainerd::server
