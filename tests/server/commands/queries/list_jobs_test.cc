// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/list_jobs.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/commands/update_job.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

class ListJobsTest : public ::testing::Test {
 protected:
  ListJobsTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
  }
  void Add(const std::string& id, const std::string& yaml) {
    clock_.Advance(absl::Seconds(10));
    AddJob(*store_, id, dir_ / "r", yaml);
  }
  void End(const std::string& id) {
    clock_.Advance(absl::Seconds(10));
    JobRecord record = Load(*store_, id);
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return ApplyTransition(
          t, {.to = v1::Job::CANCELLED, .desired_state = v1::Job::DESIRED_DISCARD}, &record);
    }));
  }
  void SetLabels(const std::string& id, const std::string& labels) {
    JobRecord record = Load(*store_, id);
    auto request = FromText<v1::UpdateJobRequest>(
        absl::StrCat("job { config { ", labels, " } } update_mask { paths: 'config.labels' }"));
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return ApplyUpdate(t, request, {"config.labels"}, &record).status();
    }));
  }
  // Ids of all pages, newest first.
  std::string List(const std::string& text) {
    auto request = FromText<v1::ListJobsRequest>(text);
    std::string ids;
    do {
      const auto page = ListJobs(*store_, aging_, request);
      EXPECT_OK(page.status());
      if (!page.ok()) return "";
      clock_.Advance(between_pages_);
      for (const v1::Job& job : page->jobs()) ids += JobId(job.name()) + " ";
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return ids;
  }
  std::string Refusal(const std::string& text) {
    const absl::Status status =
        ListJobs(*store_, absl::ZeroDuration(), FromText<v1::ListJobsRequest>(text)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text << ": " << status;
    return std::string(status.message());
  }

  TempDir dir_;
  FakeClock clock_;
  absl::Duration aging_ = absl::ZeroDuration();
  absl::Duration between_pages_ = absl::ZeroDuration();
  std::unique_ptr<Store> store_;
};

TEST_F(ListJobsTest, FiltersByLabelSelectorAfterEachChangeOfLabels) {
  Add("a", "labels: {team: blue, run: '7'}");
  Add("b", "labels: {team: red}");
  Add("c", "");
  EXPECT_EQ(List("label_selector: 'team'"), "b a ");
  EXPECT_EQ(List("label_selector: 'team != blue' page_size: 1"), "c b ");
  EXPECT_EQ(List("label_selector: 'team in (red, blue)' labels { key: 'run' value: '7' }"), "a ");
  SetLabels("a", "labels { key: 'team' value: 'two words' }");
  SetLabels("c", "labels { key: 'team' value: 'blue' }");
  EXPECT_EQ(List("label_selector: 'team = blue'"), "c ");
  EXPECT_EQ(List("label_selector: 'team = \"two words\"'"), "a ");
  EXPECT_EQ(List("label_selector: 'run'"), "");
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), "c"); }));
  Add("d", "");
  EXPECT_EQ(List("label_selector: 'team = blue'"), "") << "d has the number that c had";
}

TEST_F(ListJobsTest, FiltersByNameTimeAndState) {
  Add("a", "name: base");
  Add("b", "name: base line");
  const absl::Time time = clock_.Now() + absl::Seconds(10);
  Add("c", "name: 'b*'");
  Add("d", "name: other");
  End("b");
  EXPECT_EQ(List("display_name: 'base'"), "a ");
  EXPECT_EQ(List("display_name: 'base*' page_size: 1"), "b a ");
  EXPECT_EQ(List("display_name: '*'"), "d c b a ");
  EXPECT_EQ(List("display_name: 'b**'"), "c ") << "only the last * is special";
  const std::string at = absl::StrCat("{ seconds: ", absl::ToUnixSeconds(time), " }");
  EXPECT_EQ(List(absl::StrCat("created_after ", at)), "d c ");
  EXPECT_EQ(List(absl::StrCat("created_before ", at)), "b a ");
  EXPECT_EQ(List(absl::StrCat("created_after ", at, " created_before ", at)), "");
  EXPECT_EQ(List(absl::StrCat("created_before ", at, " states: [QUEUED, CANCELLED]")), "b a ");
  EXPECT_EQ(List(absl::StrCat("created_before ", at, " states: QUEUED")), "a ");
}

TEST_F(ListJobsTest, OrdersByEachFieldInPages) {
  Add("a", "name: m\npriority: 1");
  Add("b", "name: z\npriority: -3");
  Add("c", "name: b\npriority: 1");
  End("c");
  End("a");
  for (int size : {1, 2, 100}) {
    const std::string page = absl::StrCat("page_size: ", size, " order_by: ");
    EXPECT_EQ(List(page + "''"), "c b a ") << size;
    EXPECT_EQ(List(page + "'create_time'"), "a b c ") << size;
    EXPECT_EQ(List(page + "'create_time desc'"), "c b a ") << size;
    EXPECT_EQ(List(page + "'end_time desc'"), "a c b ") << size;
    EXPECT_EQ(List(page + "'end_time'"), "b c a ") << size;
    EXPECT_EQ(List(page + "'priority desc'"), "c a b ") << size;
    EXPECT_EQ(List(page + "'priority'"), "b a c ") << size;
    EXPECT_EQ(List(page + "'display_name'"), "c a b ") << size;
    EXPECT_EQ(List(page + "'display_name desc' states: CANCELLED"), "a c ") << size;
  }
}

TEST_F(ListJobsTest, FiltersByOwnerAndBase) {
  for (const char* id : {"a", "b", "c"}) {
    Add(id, "");
    JobRecord record = Load(*store_, id);
    record.job.set_owner(id[0] == 'b' ? "other" : "me");
    if (id[0] != 'a') {
      record.job.set_base("jobs/a/checkpoints/step-1");
      record.job.mutable_config()->mutable_init_from()->set_checkpoint("/x");
      record.ledger.set_init_name(record.job.base());
    }
    ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      EXPECT_OK(StoreJob(t.db(), &record));
      // The column is written when a job is submitted.
      Query owner(t.db(), "UPDATE jobs SET owner = ? WHERE number = ?");
      return owner.Bind(record.job.owner()).Bind(record.number).Run();
    }));
  }
  EXPECT_EQ(List("owner: 'me' page_size: 1"), "c a ");
  EXPECT_EQ(List("owner: 'nobody'"), "");
  EXPECT_EQ(List("base: 'jobs/a'"), "c b ");
  EXPECT_EQ(List("base: 'jobs/a/checkpoints/step-1' owner: 'other'"), "b ");
  EXPECT_EQ(List("base: 'jobs/a/checkpoints/step-2'"), "");
  EXPECT_EQ(List("base: 'jobs/b'"), "");
}

TEST_F(ListJobsTest, QueueOrderIsThatInWhichJobsStart) {
  Add("first", "labels: {team: blue}");
  Add("urgent", "priority: 5");
  Add("late", "not_before: 2100-01-01T00:00:00Z\nlabels: {team: blue}");
  Add("second", "labels: {team: blue}");
  Add("ended", "");
  End("ended");
  for (int size : {1, 100}) {
    const std::string page = absl::StrCat("page_size: ", size, " order_by: 'queue' ");
    EXPECT_EQ(List(page), "urgent first second late ") << size;
    EXPECT_EQ(List(page + "states: QUEUED label_selector: 'team'"), "first second late ");
    EXPECT_EQ(List(page + "states: CANCELLED"), "");
  }
  EXPECT_EQ(List("order_by: 'queue desc' page_size: 3"), "late second first urgent ");
}

// The scheduler sorts by ComesFirst; so does this list, and each of its pages as of the first one.
TEST_F(ListJobsTest, QueueOrderFollowsAgeAndJobsThatWereSentBack) {
  Add("old", "");
  clock_.Advance(absl::Hours(6));
  Add("back", "priority: 3");
  Add("young", "priority: 3");
  JobRecord record = Load(*store_, "back");
  record.ledger.set_queue_order(1'000);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  for (int size : {1, 2, 100}) {
    const std::string page = absl::StrCat("page_size: ", size, " order_by: 'queue' ");
    aging_ = absl::ZeroDuration();
    EXPECT_EQ(List(page), "young back old ") << size;
    aging_ = absl::Hours(1);
    EXPECT_EQ(List(page), "old young back ") << size;
  }
}

// Both grow older, and every half hour they change places.
TEST_F(ListJobsTest, AllPagesHaveTheQueueOrderOfTheFirst) {
  Add("old", "");
  clock_.Advance(absl::Minutes(30));
  Add("young", "priority: 1");
  aging_ = absl::Hours(1);
  between_pages_ = absl::Minutes(40);
  EXPECT_EQ(List("page_size: 1 order_by: 'queue'"), "young old ");
  clock_.Advance(absl::Minutes(20));
  EXPECT_EQ(List("page_size: 1 order_by: 'queue'"), "old young ");
}

TEST_F(ListJobsTest, PagingReturnsWhatExistedOnceWhateverHappensBetween) {
  for (int i = 0; i < 9; ++i) Add(absl::StrCat("j", i), "labels: {g: x}");
  for (const char* order : {"", "create_time", "priority", "display_name desc"}) {
    auto request = FromText<v1::ListJobsRequest>(
        absl::StrCat("page_size: 2 label_selector: 'g = x' order_by: '", order, "'"));
    std::multiset<std::string> seen;
    int extra = 0;
    do {
      const auto page = ListJobs(*store_, absl::ZeroDuration(), request);
      ASSERT_OK(page.status());
      for (const v1::Job& job : page->jobs()) seen.insert(JobId(job.name()));
      request.set_page_token(page->next_page_token());
      if (extra < 3) Add(absl::StrCat("new-", request.order_by().size(), "-", extra++), "");
    } while (!request.page_token().empty());
    for (int i = 0; i < 9; ++i) EXPECT_EQ(seen.count(absl::StrCat("j", i)), 1u) << order << i;
  }
}

TEST_F(ListJobsTest, RefusesWhatItDoesNotKnowAndNamesTheField) {
  Add("a", "");
  Add("b", "");
  EXPECT_THAT(Refusal("label_selector: 'team =='"), HasSubstr("label_selector"));
  EXPECT_THAT(Refusal(absl::StrCat("label_selector: '", std::string(4097, 'a'), "'")),
              HasSubstr("4096"));
  EXPECT_THAT(Refusal("order_by: 'age'"), HasSubstr("create_time, end_time"));
  EXPECT_THAT(Refusal("order_by: 'create_time asc'"), HasSubstr("order_by"));
  EXPECT_THAT(Refusal("order_by: 'create_time desc desc'"), HasSubstr("order_by"));
  EXPECT_THAT(Refusal("base: 'jobs/a/final'"), HasSubstr("base"));
  EXPECT_THAT(Refusal(absl::StrCat("display_name: '", std::string(201, 'a'), "'")),
              HasSubstr("display_name"));
  for (const char* token : {"-1", "0", "x", "1:2", "priority:1", "priority:1:2:x", "end_time:1:2"})
    EXPECT_THAT(Refusal(absl::StrCat("page_token: '", token, "'")), HasSubstr("page_token"));
  auto request = FromText<v1::ListJobsRequest>("page_size: 1 order_by: 'priority'");
  const std::string token = ListJobs(*store_, absl::ZeroDuration(), request)->next_page_token();
  EXPECT_THAT(Refusal(absl::StrCat("order_by: 'priority desc' page_token: '", token, "'")),
              HasSubstr("page_token"));
}

TEST_F(ListJobsTest, SelectorAndFiltersMayBeAsLongAsTheirLimits) {
  Add("a", "");
  std::string selector = "!k";
  while (selector.size() + 6 <= 4096) selector += ", !k" + std::to_string(selector.size() % 10);
  EXPECT_EQ(List(absl::StrCat("label_selector: '", selector, "'")), "a ");
}

}  // namespace
}  // namespace trainerd::server
