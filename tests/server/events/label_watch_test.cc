// SPDX-License-Identifier: Apache-2.0
// Watchers with a label selector, without threads: which events they get while labels change.
#include <map>

#include "gmock/gmock.h"
#include "server/events/watch.h"
#include "tests/server/events/event_fixture.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Labels = std::map<std::string, std::string>;

LabelMap MapOf(const Labels& labels) { return LabelMap(labels.begin(), labels.end()); }

class LabelWatchTest : public ::testing::Test {
 protected:
  LabelWatchTest() {
    f_.log.labels().SetRead([this](const std::vector<std::string>& ids) {
      ++reads_;
      JobLabels::Answer answer{.last_seq = f_.log.last_seq()};
      for (const std::string& id : ids) answer.histories.push_back(database_[id]);
      return absl::StatusOr<JobLabels::Answer>(answer);
    });
  }
  WatchOptions Selecting(const std::string& text, int64_t start_seq = 0) {
    WatchOptions options{.start_seq = start_seq};
    options.filter.selector = std::make_shared<const LabelSelector>(*ParseLabelSelector(text));
    options.filter.selector_text = text;
    return options;
  }
  Watch Make(WatchOptions options) { return Watch(std::move(options), "db", clock_.Now()); }
  // Numbers of the events that the watch gets now. `finished`: whether it ended.
  std::vector<int64_t> Seqs(Watch& watch, bool* finished = nullptr) {
    std::vector<int64_t> seqs;
    BatchCache cache;
    for (int i = 0; i < 1000; ++i) {
      Watch::Next next = watch.Advance(f_.log, &cache, clock_.Now());
      if (next.finish.has_value() && finished != nullptr) *finished = true;
      if (next.finish.has_value()) break;
      if (next.read_history) {
        watch.ReadHistory(f_.log, clock_.Now());
        continue;
      }
      if (next.message == nullptr && next.wake > clock_.Now()) break;
      if (next.message == nullptr) continue;
      const v1::StreamStatusResponse response = Parse(next.message);
      for (const v1::Event& event : response.events()) seqs.push_back(event.seq());
    }
    return seqs;
  }
  int64_t next_seq() { return f_.log.last_seq() + 1; }
  void Submit(const std::string& id, const Labels& labels) {
    database_[id].current = MapOf(labels);
    f_.Publish({StateEvent("jobs/" + id, v1::Job::QUEUED)}, kJobCreated);
  }
  void Relabel(const std::string& id, const Labels& labels, bool open = true) {
    database_[id].before[next_seq()] = database_[id].current;
    database_[id].current = MapOf(labels);
    v1::Event event;
    event.set_job("jobs/" + id);
    event.mutable_job_updated()->mutable_update_mask()->add_paths("config.labels");
    f_.Publish({event}, kLabelsChanged | (open ? kJobOpen : 0));
  }
  void Step(const std::string& id) { f_.Publish({MetricsEvent("jobs/" + id, 1)}); }

  LogFixture f_;
  FakeClock clock_;
  std::map<std::string, LabelHistory> database_;
  int reads_ = 0;
};

TEST_F(LabelWatchTest, DeliversEventsOfMatchingJobsOnly) {
  Submit("a", {{"team", "blue"}});
  Submit("b", {{"team", "red"}});
  Submit("c", {});
  Watch blue = Make(Selecting("team = blue")), not_blue = Make(Selecting("team != blue"));
  for (const char* id : {"a", "b", "c", "a"}) Step(id);
  EXPECT_THAT(Seqs(blue), ElementsAre(1, 4, 7));
  EXPECT_THAT(Seqs(not_blue), ElementsAre(2, 3, 5, 6));
  EXPECT_EQ(reads_, 1) << "the jobs are known to all watchers";
}

TEST_F(LabelWatchTest, MatchBeginsAndEndsWithTheUpdate) {
  Submit("a", {});
  Watch live = Make(Selecting("team = blue"));
  EXPECT_THAT(Seqs(live), IsEmpty());
  Step("a");
  Relabel("a", {{"team", "blue"}});
  Step("a");
  EXPECT_THAT(Seqs(live), ElementsAre(3, 4)) << "the job_updated included";
  Relabel("a", {{"team", "red"}});
  Step("a");
  Relabel("a", {{"team", "green"}});
  EXPECT_THAT(Seqs(live), ElementsAre(5)) << "the job_updated is the last event";
  Relabel("a", {{"team", "blue"}});
  EXPECT_THAT(Seqs(live), ElementsAre(8));
}

// A watcher that continues from a cursor gets what one that never left got.
TEST_F(LabelWatchTest, EveryCursorContinuesAsTheLiveWatch) {
  const Labels blue = {{"team", "blue"}}, red = {{"team", "red"}};
  Submit("a", blue);
  Submit("b", red);
  Watch live = Make(Selecting("team = blue"));
  std::vector<int64_t> all = Seqs(live);
  const auto follow = [&] {
    for (int64_t seq : Seqs(live)) all.push_back(seq);
  };
  for (int round = 0; round < 6; ++round) {
    Step("a");
    follow();
    Relabel(round % 2 == 0 ? "b" : "a", round % 3 == 0 ? blue : red);
    Step("b");
    if (round % 2 == 0) follow();
    Submit("j" + std::to_string(round), round % 2 == 0 ? blue : Labels());
    Step("j" + std::to_string(round));
  }
  follow();
  EXPECT_GT(all.size(), 8u);
  for (int64_t start = 0; start <= f_.log.last_seq(); ++start) {
    Watch again = Make(Selecting("team = blue", start));
    std::vector<int64_t> expected;
    for (int64_t seq : all) {
      if (seq > start) expected.push_back(seq);
    }
    EXPECT_EQ(Seqs(again), expected) << "from " << start;
  }
}

// The labels can change between the read of the database and its use.
TEST_F(LabelWatchTest, ChangeDuringTheReadIsNotMissed) {
  Submit("a", {{"team", "blue"}});
  bool changed = false;
  f_.log.labels().SetRead([&](const std::vector<std::string>& ids) {
    JobLabels::Answer answer{.last_seq = f_.log.last_seq()};
    for (const std::string& id : ids) answer.histories.push_back(database_[id]);
    if (!std::exchange(changed, true)) {
      Relabel("a", {});
      Step("a");
    }
    return absl::StatusOr<JobLabels::Answer>(answer);
  });
  Watch watch = Make(Selecting("team = blue"));
  EXPECT_THAT(Seqs(watch), ElementsAre(1, 2));
}

TEST_F(LabelWatchTest, UntilTerminalCountsMatchingJobs) {
  const Labels blue = {{"team", "blue"}};
  Submit("a", blue);
  Submit("b", {});
  WatchOptions options = Selecting("team = blue", 2);
  options.until_terminal = true;
  options.counted_seq = 2;
  options.open_jobs = {"jobs/a"};
  Watch watch = Make(std::move(options));
  bool finished = false;
  EXPECT_THAT(Seqs(watch, &finished), IsEmpty());
  Submit("c", blue);
  Relabel("b", blue);
  f_.Publish({StateEvent("jobs/a", v1::Job::SUCCEEDED)}, kJobEnded);
  Relabel("c", {});
  Seqs(watch, &finished);
  EXPECT_FALSE(finished) << "b matches now";
  Relabel("a", {{"team", "blue"}, {"x", "y"}}, /*open=*/false);
  f_.Publish({StateEvent("jobs/b", v1::Job::FAILED)}, kJobEnded);
  Seqs(watch, &finished);
  EXPECT_TRUE(finished) << "c no longer matches";
}

TEST_F(LabelWatchTest, DeletionOfAMatchingJobIsDelivered) {
  Submit("a", {{"team", "blue"}});
  Watch watch = Make(Selecting("team = blue"));
  EXPECT_THAT(Seqs(watch), ElementsAre(1));
  const int64_t deleted = next_seq();
  database_["a"] = {.current = {}, .before = {{deleted + 1, MapOf({{"team", "blue"}})}}};
  v1::Event event;
  event.set_job("jobs/a");
  event.mutable_notice()->set_code("JOB_DELETED");
  f_.Publish({event}, kJobDeleted);
  EXPECT_THAT(Seqs(watch), ElementsAre(2));
  Watch later = Make(Selecting("team = blue", 1));
  EXPECT_THAT(Seqs(later), ElementsAre(2));
  Submit("a", {});
  EXPECT_THAT(Seqs(watch), IsEmpty()) << "another job of the same id";
}

TEST_F(LabelWatchTest, ANoticeOfTheDaemonIsOfNoJob) {
  v1::Event notice;
  notice.mutable_notice()->set_code("CERTIFICATE_MISMATCH");
  Submit("a", {});
  f_.Publish({notice});
  Watch all = Make({});
  EXPECT_THAT(Seqs(all), ElementsAre(1, 2));
  // A job without labels matches this.
  Watch selecting = Make(Selecting("!team"));
  EXPECT_THAT(Seqs(selecting), ElementsAre(1));
  WatchOptions of_job;
  of_job.filter.job = "jobs/a";
  Watch one = Make(of_job);
  EXPECT_THAT(Seqs(one), ElementsAre(1));
}

}  // namespace
}  // namespace trainerd::server
