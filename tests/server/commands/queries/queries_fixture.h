// SPDX-License-Identifier: Apache-2.0
// Queries against a real store.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/contract/job/names.h"
#include "server/commands/queries/list_jobs.h"
#include "server/commands/queries/queries.h"
#include "tests/server/test_env.h"

namespace trainerd::server {

class QueriesTest : public ::testing::Test {
 protected:
  QueriesTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = recorder_.Listener(),
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void Add(int count) {
    for (int i = 0; i < count; ++i) {
      AddJob(*store_, absl::StrCat("j", i), dir_ / "r",
             absl::StrCat("labels: {parity: '", i % 2 == 0 ? "even" : "odd", "'}"));
    }
  }
  void End(const std::string& id) {
    JobRecord record = Load(*store_, id);
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return ApplyTransition(
          t, {.to = v1::Job::CANCELLED, .desired_state = v1::Job::DESIRED_DISCARD}, &record);
    }));
  }
  // A job whose stored form has about `bytes`.
  void AddLarge(const std::string& id, size_t bytes) {
    JobRecord record = AddJob(*store_, id, dir_ / "r");
    while (record.job.ByteSizeLong() < bytes) {
      record.job.mutable_config()->mutable_data()->add_train()->set_path(std::string(1000, 'p'));
    }
    ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  }
  // All pages.
  std::string List(v1::ListJobsRequest request) {
    std::string names;
    do {
      auto page = ListJobs(*store_, absl::ZeroDuration(), request);
      EXPECT_TRUE(page.ok()) << page.status();
      EXPECT_LE(page->jobs_size(), std::max(1, request.page_size()));
      for (const v1::Job& job : page->jobs()) names += JobId(job.name()) + " ";
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return names;
  }
  absl::Status Watch(const std::string& text) {
    return MakeWatch(*store_, FromText<v1::StreamStatusRequest>(text)).status();
  }

  TempDir dir_;
  FakeClock clock_;
  EventRecorder recorder_;
  std::unique_ptr<Store> store_;
};

}  // namespace trainerd::server
