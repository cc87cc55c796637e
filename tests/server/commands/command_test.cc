// SPDX-License-Identifier: Apache-2.0
// The wrapper of all commands: change, audit and reply become durable together or not at all.
#include "server/commands/command.h"

#include "server/events/cursor.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class CommandTest : public ::testing::Test {
 protected:
  CommandTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
    AddJob(*store_, "a", dir_ / "runs/a");
  }
  CommandCall Call(const std::string& request_id) {
    return {.method = "Test", .request_id = request_id, .body_hash = "hash", .reason = "because"};
  }
  // Sets the run directory of the job `a`; counts its calls.
  absl::StatusOr<v1::Job> Change(const CommandCall& call, const std::string& run_dir,
                                 const absl::Status& result = absl::OkStatus()) {
    return ChangeJob(*store_, call, "jobs/a", "", [&](Transaction& t, JobRecord* record) {
      ++changes_;
      record->job.set_run_dir(run_dir);
      absl::Status stored = StoreJob(t.db(), record);
      return stored.ok() ? result : stored;
    });
  }
  int64_t Rows(const char* count) {
    return *store_->Read([&](Connection& db) -> absl::StatusOr<int64_t> {
      Query query(db, count);
      EXPECT_TRUE(query.Step());
      return query.Int(0);
    });
  }
  int64_t AuditRows() { return Rows("SELECT count(*) FROM audit"); }
  int64_t Replies() { return Rows("SELECT count(*) FROM idempotency"); }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
  int changes_ = 0;
};

TEST_F(CommandTest, RunsRepeatedCallOnce) {
  EXPECT_EQ(Change(Call("r"), "/first")->run_dir(), "/first");
  EXPECT_EQ(Change(Call("r"), "/second")->run_dir(), "/first");
  EXPECT_EQ(changes_, 1);
  EXPECT_EQ(Load(*store_, "a").job.run_dir(), "/first");
  EXPECT_EQ(AuditRows(), 1);
}

TEST_F(CommandTest, RunsCallsWithoutRequestIdEachTime) {
  EXPECT_OK(Change(Call(""), "/first").status());
  EXPECT_OK(Change(Call(""), "/second").status());
  EXPECT_EQ(Load(*store_, "a").job.run_dir(), "/second");
  EXPECT_EQ(AuditRows(), 2);
  EXPECT_EQ(Replies(), 0);
}

TEST_F(CommandTest, StoresNoAuditOfCommandThatChangesNothing) {
  int calls = 0;
  const auto nothing = [&](const std::string& request_id) {
    return ChangeJob(*store_, Call(request_id), "jobs/a", "", [&](Transaction&, JobRecord*) {
      ++calls;
      return absl::OkStatus();
    });
  };
  EXPECT_OK(nothing("").status());
  EXPECT_OK(nothing("r").status());
  EXPECT_EQ(AuditRows(), 0);
  EXPECT_EQ(Replies(), 1) << "a repeated call still gets the first reply";
  EXPECT_OK(nothing("r").status());
  EXPECT_EQ(calls, 2);
}

// StreamStatus(after = cursor) then delivers what happens after this reply.
TEST_F(CommandTest, RepliesWithCursorAfterItsOwnEvents) {
  const auto reply = ChangeJob(*store_, Call("r"), "jobs/a", "", [](Transaction& t, JobRecord*) {
    v1::Event event;
    event.set_job("jobs/a");
    event.mutable_notice()->set_code("X");
    return t.Append(event);
  });
  ASSERT_OK(reply.status());
  EXPECT_EQ(Rows("SELECT max(seq) FROM events"), 2);
  EXPECT_EQ(reply->cursor(), FormatCursor(store_->database_id(), 2));
  EXPECT_EQ(Load(*store_, "a").job.cursor(), "") << "a cursor is part of a reply, not of the job";
}

TEST_F(CommandTest, StoresNothingOfFailedCommand) {
  const std::string before = Load(*store_, "a").job.run_dir();
  EXPECT_TRUE(absl::IsInternal(Change(Call("r"), "/x", absl::InternalError("no")).status()));
  EXPECT_EQ(Load(*store_, "a").job.run_dir(), before);
  EXPECT_EQ(AuditRows() + Replies(), 0);
  // The request_id is still free.
  EXPECT_OK(Change(Call("r"), "/x").status());
}

// A migration leaves an empty hash, because the stored request was serialized in an older form.
TEST_F(CommandTest, ReturnsEarlierReplyWhoseHashWasEmptied) {
  CommandCall call = Call("r");
  call.body_hash = "";
  EXPECT_OK(Change(call, "/x").status());
  EXPECT_OK(Change(Call("r"), "/y").status());
  EXPECT_EQ(Load(*store_, "a").job.run_dir(), "/x");
}

TEST_F(CommandTest, RefusesRequestIdOfDifferentCall) {
  EXPECT_OK(Change(Call("r"), "/x").status());
  CommandCall other = Call("r");
  other.method = "Other";
  EXPECT_TRUE(absl::IsAlreadyExists(Change(other, "/y").status()));
  other = Call("r");
  other.body_hash = "different";
  EXPECT_TRUE(absl::IsAlreadyExists(Change(other, "/y").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Change(Call(std::string(129, 'r')), "/y").status()));
}

}  // namespace
}  // namespace trainerd::server
