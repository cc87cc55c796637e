// SPDX-License-Identifier: Apache-2.0
// The times that trainer.proto and trainerd.yaml promise.
#include "server/ledger/housekeeping.h"

#include "absl/synchronization/notification.h"
#include "server/store/rows/access/audit_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

TEST(HousekeepingTest, KeepsRequestIdsFor30Days) {
  TempDir dir;
  FakeClock clock;
  auto store = Store::Open({.path = dir / "trainerd.db", .clock = clock.Function()});
  ASSERT_OK(store.status());
  DiskWorker disk;
  Housekeeping housekeeping({.runs_dir = dir / "runs", .clock = clock.Function()}, **store, disk);
  ASSERT_OK((*store)->Change([&](Transaction& t) {
    return StoreRequest(t.db(), "r", {.method = "Pause", .body_hash = "h", .response = "x"},
                        t.now());
  }));
  const auto is_kept = [&] {
    absl::Notification expired;
    housekeeping.Expire();
    disk.Post([&] { expired.Notify(); });
    expired.WaitForNotification();
    const auto found =
        (*store)->Read([&](Connection& db) -> absl::StatusOr<std::optional<IdempotencyRow>> {
          return FindRequest(db, "r");
        });
    EXPECT_OK(found.status());
    return found->has_value();
  };
  clock.Advance(absl::Hours(24 * 30) - absl::Minutes(1));
  EXPECT_TRUE(is_kept());
  clock.Advance(absl::Minutes(2));
  EXPECT_FALSE(is_kept());
}

TEST(HousekeepingTest, ExpiresAuditEntriesAfterTheirRetention) {
  for (const absl::Duration retention : {absl::Hours(48), absl::ZeroDuration()}) {
    TempDir dir;
    FakeClock clock;
    auto store = Store::Open({.path = dir / "t.db", .clock = clock.Function()});
    ASSERT_OK(store.status());
    DiskWorker disk;
    Housekeeping housekeeping(
        {.runs_dir = dir / "runs", .audit_retention = retention, .clock = clock.Function()},
        **store, disk);
    ASSERT_OK((*store)->Change([&](Transaction& t) {
      return StoreAudit(t.db(),
                        {.method = "Pause", .resource = "jobs/a", .principal = "p", .peer = "q"},
                        t.now());
    }));
    const auto entries = [&] {
      absl::Notification expired;
      housekeeping.Expire();
      disk.Post([&] { expired.Notify(); });
      expired.WaitForNotification();
      return (*store)->Read([&](Connection& db) { return ListAuditRows(db, {}); })->size();
    };
    clock.Advance(absl::Hours(47));
    EXPECT_EQ(entries(), 1u);
    clock.Advance(absl::Hours(24 * 365));
    EXPECT_EQ(entries(), retention == absl::ZeroDuration() ? 1u : 0u) << "0s: forever";
  }
}

}  // namespace
}  // namespace trainerd::server
