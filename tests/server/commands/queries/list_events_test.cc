// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/list_events.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/events/cursor.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ListEventsTest : public ::testing::Test {
 protected:
  ListEventsTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db"});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
    // Events 1 and 2.
    AddJob(*store_, "a", dir_ / "a");
    AddJob(*store_, "b", dir_ / "b");
  }
  void AppendMetrics(const std::string& job, int count) {
    for (int done = 0; done < count; done += 200) {
      ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
        for (int i = done; i < std::min(count, done + 200); ++i) {
          v1::Event event;
          event.set_job(job);
          event.mutable_metrics()->set_step(i + 1);
          EXPECT_OK(t.Append(event));
        }
        return absl::OkStatus();
      }));
    }
  }
  void AppendNotice(const std::string& job, const std::string& message) {
    ASSERT_OK(store_->Change([&](Transaction& t) {
      v1::Event event;
      event.set_job(job);
      event.mutable_notice()->set_message(message);
      return t.Append(event);
    }));
  }
  // Numbers of the events of all pages.
  std::vector<int64_t> List(const std::string& text, int* pages = nullptr) {
    auto request = FromText<v1::ListEventsRequest>(text);
    std::vector<int64_t> numbers;
    do {
      const auto page = ListEvents(*store_, request);
      EXPECT_OK(page.status());
      if (!page.ok()) return numbers;
      EXPECT_LE(page->events_size(), request.page_size() == 0 ? 100 : request.page_size());
      for (const v1::Event& event : page->events()) numbers.push_back(event.seq());
      if (pages != nullptr) ++*pages;
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return numbers;
  }
  std::string Refusal(const std::string& text) {
    const absl::Status status = ListEvents(*store_, FromText<v1::ListEventsRequest>(text)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text << ": " << status;
    return std::string(status.message());
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(ListEventsTest, ListsEachEventOnceInBothOrders) {
  AppendMetrics("jobs/a", 3);
  AppendNotice("jobs/b", "x");
  for (int size : {1, 2, 3, 100}) {
    const std::string page = absl::StrCat("page_size: ", size, " ");
    EXPECT_THAT(List(page + "parent: 'jobs/a'"), ElementsAre(1, 3, 4, 5)) << size;
    EXPECT_THAT(List(page + "parent: 'a' order_by: 'seq desc'"), ElementsAre(5, 4, 3, 1)) << size;
    EXPECT_THAT(List(page + "parent: 'jobs/-' order_by: 'seq'"), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(List(page + "parent: 'jobs/-' order_by: 'seq desc'"),
                ElementsAre(6, 5, 4, 3, 2, 1));
    EXPECT_THAT(List(page + "parent: 'jobs/-' event_types: ['notice', 'state_changed']"),
                ElementsAre(1, 2, 6));
    EXPECT_THAT(List(page + "parent: 'jobs/a' event_types: 'notice'"), IsEmpty());
  }
}

TEST_F(ListEventsTest, LastPageHasTheCursorFromWhichAWatchContinues) {
  AppendMetrics("jobs/a", 3);
  auto request = FromText<v1::ListEventsRequest>("parent: 'jobs/a' page_size: 3");
  auto page = *ListEvents(*store_, request);
  EXPECT_EQ(page.events_size(), 3);
  // An event between two pages is on the next one.
  AppendNotice("jobs/a", "x");
  request.set_page_token(page.next_page_token());
  page = *ListEvents(*store_, request);
  EXPECT_EQ(page.events_size(), 2);
  EXPECT_EQ(page.next_page_token(), "");
  EXPECT_EQ(page.cursor(), FormatCursor(store_->database_id(), 6));
  // Newest first, one between two pages is not: the cursor is that of the first page.
  request = FromText<v1::ListEventsRequest>("parent: 'jobs/a' page_size: 3 order_by: 'seq desc'");
  page = *ListEvents(*store_, request);
  EXPECT_EQ(page.cursor(), FormatCursor(store_->database_id(), 6));
  AppendNotice("jobs/a", "y");
  request.set_page_token(page.next_page_token());
  page = *ListEvents(*store_, request);
  EXPECT_EQ(page.events(0).seq(), 3);
  EXPECT_EQ(page.events(1).seq(), 1);
}

// A page reads a bounded part of the log: one without an event has a token, too.
TEST_F(ListEventsTest, RareTypeInALongLogTakesSeveralPages) {
  AppendMetrics("jobs/a", 25'000);
  AppendNotice("jobs/a", "end");
  for (const char* parent : {"jobs/a", "jobs/-"}) {
    for (const char* order : {"seq", "seq desc"}) {
      int pages = 0;
      EXPECT_THAT(
          List(absl::StrCat("parent: '", parent, "' order_by: '", order, "' event_types: 'notice'"),
               &pages),
          ElementsAre(25'003));
      EXPECT_GE(pages, 3);
      EXPECT_LE(pages, 5);
    }
  }
}

TEST_F(ListEventsTest, PageHoldsOneMebibyteOrOneEvent) {
  for (int i = 0; i < 12; ++i) AppendNotice("jobs/a", std::string(200'000, 'x'));
  const auto page =
      *ListEvents(*store_, FromText<v1::ListEventsRequest>("parent: 'jobs/a' page_size: 1000"));
  EXPECT_LE(page.ByteSizeLong(), (size_t{1} << 20) + 100);
  EXPECT_GE(page.events_size(), 5);
  EXPECT_NE(page.next_page_token(), "");
  EXPECT_EQ(List("parent: 'jobs/a' page_size: 1000").size(), 13u);
}

TEST_F(ListEventsTest, RefusesWhatItDoesNotKnow) {
  EXPECT_THAT(Refusal("parent: 'jobs/a' event_types: 'metric'"), HasSubstr("\"metrics\""));
  EXPECT_THAT(Refusal("parent: 'jobs/a' order_by: 'time'"), HasSubstr("seq desc"));
  EXPECT_THAT(Refusal("parent: 'jobs/a' order_by: 'desc'"), HasSubstr("order_by"));
  EXPECT_THAT(Refusal("parent: 'jobs/a' page_size: 1001"), HasSubstr("page_size"));
  EXPECT_THAT(Refusal("parent: 'jobs/a' page_token: 'x'"), HasSubstr("page_token"));
  EXPECT_THAT(Refusal("parent: 'jobs/a' page_token: 'desc:1'"), HasSubstr("another order_by"));
  EXPECT_THAT(Refusal("parent: 'jobs/a' order_by: 'seq desc' page_token: '1'"),
              HasSubstr("another order_by"));
  EXPECT_THAT(Refusal("parent: 'jobs/a/checkpoints/c'"), HasSubstr("parent"));
  EXPECT_THAT(Refusal("page_size: 1"), HasSubstr("parent"));
  EXPECT_TRUE(absl::IsNotFound(
      ListEvents(*store_, FromText<v1::ListEventsRequest>("parent: 'jobs/none'")).status()));
}

}  // namespace
}  // namespace trainerd::server
