// SPDX-License-Identifier: Apache-2.0
// The times that trainer.proto and trainerd.yaml promise.
#include "server/ledger/housekeeping.h"

#include "absl/synchronization/notification.h"
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

}  // namespace
}  // namespace trainerd::server
