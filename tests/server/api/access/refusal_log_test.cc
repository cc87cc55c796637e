// SPDX-License-Identifier: Apache-2.0
// How many entries refused calls can write. The clock is the test's.
#include "server/api/access/refusal_log.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class RefusalLogTest : public ::testing::Test {
 protected:
  RefusalLogTest() {
    auto store = Store::Open(
        {.path = dir_ / "t.db", .clock = clock_.Function(), .steady_clock = clock_.Function()});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
    log_ = std::make_unique<RefusalLog>(*store_);
  }
  void Refuse(const std::string& principal, int calls) {
    for (int i = 0; i < calls; ++i)
      log_->Record({.method = "Pause",
                    .resource = "jobs/a",
                    .principal = principal,
                    .peer = "p",
                    .code = 7});
  }
  // The entries as "principal method resource", consecutive equal ones as their number.
  std::string Entries() {
    const auto rows =
        *store_->Read([](Connection& db) { return ListAuditRows(db, {.limit = 10'000}); });
    std::vector<std::pair<std::string, int>> runs;
    for (const v1::AuditEntry& row : rows) {
      EXPECT_EQ(row.code(), 7);
      const std::string text = absl::StrJoin({row.principal(), row.method(), row.resource()}, " ");
      if (runs.empty() || runs.back().first != text) runs.emplace_back(text, 0);
      ++runs.back().second;
    }
    return absl::StrJoin(runs, ", ", [](std::string* out, const auto& run) {
      absl::StrAppend(out, run.second, " x ", run.first);
    });
  }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<RefusalLog> log_;
};

TEST_F(RefusalLogTest, CountsWhatIsBeyondTheLimitOfAMinute) {
  Refuse("mallory", 1000);
  EXPECT_EQ(Entries(), "60 x mallory Trainer.Pause jobs/a");
  log_->Flush();
  EXPECT_EQ(Entries(), "60 x mallory Trainer.Pause jobs/a") << "the minute is not over";
  clock_.Advance(absl::Minutes(1));
  log_->Flush();
  EXPECT_EQ(Entries(), "60 x mallory Trainer.Pause jobs/a, 1 x mallory * 940 more refused calls");
  clock_.Advance(absl::Minutes(5));
  log_->Flush();
  Refuse("mallory", 1);
  EXPECT_EQ(Entries(),
            "60 x mallory Trainer.Pause jobs/a, 1 x mallory * 940 more refused calls, "
            "1 x mallory Trainer.Pause jobs/a");
}

TEST_F(RefusalLogTest, TheNextMinuteBeginsWithTheNumberOfTheOneBefore) {
  Refuse("mallory", 61);
  clock_.Advance(absl::Seconds(61));
  Refuse("mallory", 61);
  EXPECT_EQ(Entries(),
            "60 x mallory Trainer.Pause jobs/a, 1 x mallory * 1 more refused call, "
            "60 x mallory Trainer.Pause jobs/a");
}

TEST_F(RefusalLogTest, EachPrincipalHasItsOwnLimit) {
  Refuse("mallory", 100);
  Refuse("bob", 2);
  EXPECT_EQ(Entries(), "60 x mallory Trainer.Pause jobs/a, 2 x bob Trainer.Pause jobs/a");
}

TEST_F(RefusalLogTest, StoresTheNumbersAtItsEnd) {
  Refuse("mallory", 70);
  log_.reset();
  EXPECT_EQ(Entries(), "60 x mallory Trainer.Pause jobs/a, 1 x mallory * 10 more refused calls");
}

}  // namespace
}  // namespace trainerd::server
