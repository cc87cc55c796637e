// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/queries.h"

#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "proto/base/hash.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/commands/queries/list_jobs.h"
#include "server/events/cursor.h"
#include "server/store/rows/run_rows.h"
#include "tests/server/commands/queries/queries_fixture.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

TEST_F(QueriesTest, ListsEachJobOnceInPagesNewestFirst) {
  Add(7);
  for (int page : {1, 2, 3, 7, 100}) {
    v1::ListJobsRequest request;
    request.set_page_size(page);
    EXPECT_EQ(List(request), "j6 j5 j4 j3 j2 j1 j0 ") << page;
  }
}

TEST_F(QueriesTest, FiltersByStateAndLabels) {
  Add(6);
  End("j2");
  End("j3");
  EXPECT_EQ(List(FromText<v1::ListJobsRequest>("page_size: 1 states: CANCELLED")), "j3 j2 ");
  EXPECT_EQ(List(FromText<v1::ListJobsRequest>("page_size: 2 labels {key: 'parity' value: 'odd'}")),
            "j5 j3 j1 ");
  EXPECT_EQ(List(FromText<v1::ListJobsRequest>(
                "page_size: 2 states: QUEUED labels {key: 'parity' value: 'even'}")),
            "j4 j0 ");
}

TEST_F(QueriesTest, RefusesInvalidPageSizeAndToken) {
  EXPECT_TRUE(absl::IsInvalidArgument(
      ListJobs(*store_, absl::ZeroDuration(), FromText<v1::ListJobsRequest>("page_size: -1"))
          .status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ListJobs(*store_, absl::ZeroDuration(), FromText<v1::ListJobsRequest>("page_token: 'x'"))
          .status()));
}

TEST_F(QueriesTest, CursorOfJobResumesExactlyAfterIt) {
  Add(2);
  const v1::Job job = *GetJob(*store_, "jobs/j0");
  EXPECT_EQ(job.cursor(), FormatCursor(store_->database_id(), 2));
  auto watch = MakeWatch(*store_, FromText<v1::StreamStatusRequest>(absl::StrCat(
                                      "parent: 'jobs/j0' after: '", job.cursor(), "'")));
  ASSERT_OK(watch.status());
  EXPECT_EQ(watch->start_seq, 2);
}

TEST_F(QueriesTest, ListsDamagedCheckpointsAsDamaged) {
  Add(1);
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    for (const char* id : {"whole", "cut", "removed"}) {
      const std::string folder = dir_ / id;
      std::filesystem::create_directories(folder);
      Manifest manifest{.job = "jobs/j0", .attempt = 1, .step = 1, .kind = "checkpoint"};
      manifest.create_time = "2026-11-24T07:00:00Z";
      manifest.files["model.safetensors"] = {4, ToHex(Xxh3("1234"))};
      std::ofstream(folder + "/MANIFEST.json") << ManifestToJson(manifest);
      std::ofstream(folder + "/model.safetensors") << (id[0] == 'c' ? "12" : "1234");
      v1::Checkpoint checkpoint;
      checkpoint.set_job("jobs/j0");
      checkpoint.set_name(absl::StrCat("jobs/j0/checkpoints/", id));
      checkpoint.set_path(folder);
      checkpoint.set_verified(true);
      EXPECT_OK(StoreCheckpoint(t.db(), checkpoint));
    }
    return absl::OkStatus();
  }));
  // Retention removes the folder before it marks the row.
  std::filesystem::remove_all(dir_ / "removed");
  const auto list =
      ListCheckpoints(*store_, FromText<v1::ListCheckpointsRequest>("parent: 'jobs/j0'"));
  ASSERT_OK(list.status());
  ASSERT_EQ(list->checkpoints_size(), 3);
  EXPECT_EQ(list->checkpoints(0).damage(), "");
  EXPECT_TRUE(absl::StrContains(list->checkpoints(1).damage(),
                                "model.safetensors has 2 bytes instead of 4"))
      << list->checkpoints(1).damage();
  EXPECT_EQ(list->checkpoints(2).damage(), "");
}

TEST_F(QueriesTest, PagesAttemptsAndCheckpointsInOrder) {
  Add(1);
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    for (int i = 1; i <= 5; ++i) {
      v1::Attempt attempt;
      attempt.set_job("jobs/j0");
      attempt.set_number(i);
      attempt.set_end(v1::Attempt::CRASHED);
      EXPECT_OK(StoreAttempt(t.db(), attempt));
      v1::Checkpoint checkpoint;
      checkpoint.set_job("jobs/j0");
      checkpoint.set_name(absl::StrCat("jobs/j0/checkpoints/c", i));
      checkpoint.set_step(i);
      checkpoint.set_deleted(i == 1);
      EXPECT_OK(StoreCheckpoint(t.db(), checkpoint));
    }
    return absl::OkStatus();
  }));
  std::string attempts, checkpoints;
  auto list = FromText<v1::ListAttemptsRequest>("parent: 'jobs/j0' page_size: 2");
  do {
    auto page = ListAttempts(*store_, list);
    for (const v1::Attempt& a : page->attempts()) absl::StrAppend(&attempts, a.number(), " ");
    list.set_page_token(page->next_page_token());
  } while (!list.page_token().empty());
  EXPECT_EQ(attempts, "1 2 3 4 5 ");
  auto ledger = FromText<v1::ListCheckpointsRequest>("parent: 'jobs/j0' page_size: 3");
  do {
    auto page = ListCheckpoints(*store_, ledger);
    for (const v1::Checkpoint& c : page->checkpoints()) {
      absl::StrAppend(&checkpoints, c.step(), " ");
    }
    ledger.set_page_token(page->next_page_token());
  } while (!ledger.page_token().empty());
  EXPECT_EQ(checkpoints, "5 4 3 2 ");
}

// A default client receives at most 4 MiB; the head of trainer.proto states 1 MiB or one element.
TEST_F(QueriesTest, PagesAndSnapshotMessagesAreBoundedInBytes) {
  constexpr size_t kLimit = size_t{1} << 20;
  constexpr int kJobs = 400;
  for (int i = 0; i < kJobs; ++i)
    AddLarge(absl::StrCat("j", i), i % 50 == 0 ? 1'150'000 : i % 3 == 0 ? 400'000 : 3'000);
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  std::set<std::string> listed;
  int pages = 0;
  do {
    auto page = ListJobs(*store_, absl::ZeroDuration(), request);
    ASSERT_OK(page.status());
    ASSERT_GT(page->jobs_size(), 0);
    EXPECT_TRUE(page->jobs_size() == 1 || page->ByteSizeLong() <= kLimit) << page->ByteSizeLong();
    for (const v1::Job& job : page->jobs()) EXPECT_TRUE(listed.insert(job.name()).second);
    request.set_page_token(page->next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(listed.size(), static_cast<size_t>(kJobs));
  EXPECT_GT(pages, 40);

  auto watch =
      MakeWatch(*store_, FromText<v1::StreamStatusRequest>("parent: 'jobs/-' send_snapshot: true"));
  ASSERT_OK(watch.status());
  std::set<std::string> snapshot;
  bool complete = false;
  while (!complete) {
    auto message = watch->snapshot();
    ASSERT_OK(message.status());
    ASSERT_TRUE(message->has_value());
    v1::StreamStatusResponse response;
    ASSERT_TRUE(response.ParseFromString(**message));
    EXPECT_TRUE(response.snapshot_size() <= 1 || (*message)->size() <= kLimit);
    for (const v1::Job& job : response.snapshot()) snapshot.insert(job.name());
    complete = response.snapshot_complete();
  }
  EXPECT_EQ(snapshot, listed);
}

TEST_F(QueriesTest, PagesOfAttemptsAndCheckpointsAreBoundedInBytes) {
  constexpr size_t kLimit = size_t{1} << 20;
  constexpr int kCount = 20;
  AddJob(*store_, "a", dir_ / "r");
  for (int i = 1; i <= kCount; ++i) {
    ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      v1::Attempt attempt;
      attempt.set_job("jobs/a");
      attempt.set_number(i);
      attempt.set_end(v1::Attempt::FAILED);
      // Whatever a worker writes.
      attempt.mutable_error()->set_message(std::string(3'000'000, 'e'));
      if (absl::Status status = StoreAttempt(t.db(), attempt); !status.ok()) return status;
      v1::Checkpoint checkpoint;
      checkpoint.set_job("jobs/a");
      checkpoint.set_name(absl::StrCat("jobs/a/checkpoints/c", i));
      checkpoint.set_path(dir_ / "none");
      checkpoint.set_damage(std::string(3'000'000, 'd'));
      return StoreCheckpoint(t.db(), checkpoint);
    }));
  }
  int attempts = 0, checkpoints = 0;
  v1::ListAttemptsRequest request;
  request.set_parent("jobs/a");
  do {
    auto page = ListAttempts(*store_, request);
    ASSERT_OK(page.status());
    EXPECT_LE(page->ByteSizeLong(), kLimit);
    attempts += page->attempts_size();
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  v1::ListCheckpointsRequest list;
  list.set_parent("jobs/a");
  do {
    auto page = ListCheckpoints(*store_, list);
    ASSERT_OK(page.status());
    EXPECT_LE(page->ByteSizeLong(), kLimit);
    checkpoints += page->checkpoints_size();
    list.set_page_token(page->next_page_token());
  } while (!list.page_token().empty());
  EXPECT_EQ(attempts, kCount);
  EXPECT_EQ(checkpoints, kCount);
}

TEST_F(QueriesTest, EveryQueryRefusesOtherNames) {
  AddJob(*store_, "a", dir_ / "r");
  const auto reason = [](const absl::Status& status) {
    google::rpc::ErrorInfo info;
    const auto payload = status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo");
    if (payload.has_value()) info.ParseFromString(std::string(*payload));
    return info.reason();
  };
  const auto outcomes = [&](const std::string& name) {
    v1::ListAttemptsRequest attempts;
    attempts.set_parent(name);
    v1::ListCheckpointsRequest checkpoints;
    checkpoints.set_parent(name);
    v1::StreamStatusRequest watch;
    watch.set_parent(name);
    return std::vector<absl::Status>{
        GetJob(*store_, name).status(), ListAttempts(*store_, attempts).status(),
        ListCheckpoints(*store_, checkpoints).status(), MakeWatch(*store_, watch).status()};
  };
  for (const char* name : {"", "-", "jobs/", "jobs/a/", "jobs/a/checkpoints/x", "jobs/a/attempts",
                           "JOBS/a", "a/checkpoints/x", "jobs/A"}) {
    for (const absl::Status& status : outcomes(name)) {
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << name << ": " << status;
      EXPECT_EQ(reason(status), "INVALID_NAME") << name;
    }
  }
  for (const char* name : {"nosuch", "jobs/nosuch"}) {
    for (const absl::Status& status : outcomes(name))
      EXPECT_EQ(reason(status), "JOB_NOT_FOUND") << status;
  }
  for (const char* name : {"a", "jobs/a"}) {
    for (const absl::Status& status : outcomes(name)) EXPECT_OK(status);
  }
  // Only a watch takes all jobs.
  EXPECT_EQ(reason(GetJob(*store_, "jobs/-").status()), "INVALID_NAME");
}

TEST_F(QueriesTest, EachJobOfListAndSnapshotHasCursor) {
  Add(3);
  const std::string cursor = FormatCursor(store_->database_id(), 3);
  const auto list = ListJobs(*store_, absl::ZeroDuration(), {});
  ASSERT_OK(list.status());
  for (const v1::Job& job : list->jobs()) EXPECT_EQ(job.cursor(), cursor) << job.name();
  for (const char* parent : {"jobs/-", "jobs/j1"}) {
    auto watch = MakeWatch(*store_, FromText<v1::StreamStatusRequest>(absl::StrCat(
                                        "parent: '", parent, "' send_snapshot: true")));
    ASSERT_OK(watch.status());
    v1::StreamStatusResponse response;
    ASSERT_TRUE(response.ParseFromString(watch->first_message != nullptr ? *watch->first_message
                                                                         : **watch->snapshot()));
    EXPECT_GE(response.snapshot_size(), 1);
    for (const v1::Job& job : response.snapshot()) EXPECT_EQ(job.cursor(), cursor) << job.name();
  }
}

}  // namespace
}  // namespace trainerd::server
