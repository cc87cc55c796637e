// SPDX-License-Identifier: Apache-2.0
// T9: acknowledged changes are in the database after a power cut at any moment, and the database
// opens. While it writes, the test counts the changes that were acknowledged before the cut.
#include <filesystem>
#include <fstream>

#include "tests/server/store/power_cut_vfs.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

constexpr int kChanges = 150;
constexpr int kCuts = 120;

TEST(PowerCutTest, AcknowledgedChangesSurviveCutAtAnyMoment) {
  TempDir dir;
  PowerCutVfs& vfs = PowerCutVfs::Get();
  vfs.Clear();
  std::vector<size_t> acknowledged_at;  // operations done when change i was acknowledged
  size_t created_at = 0;
  {
    auto store = Store::Open({.path = dir / "trainerd.db", .vfs = PowerCutVfs::kName});
    ASSERT_OK(store.status());
    created_at = vfs.size();
    for (int i = 0; i < kChanges; ++i) {
      ASSERT_OK((*store)->Change([&](Transaction& t) -> absl::Status {
        v1::Event event;
        event.set_job("jobs/a");
        event.mutable_notice()->set_message(std::string(static_cast<size_t>(i % 7) * 900, 'x'));
        EXPECT_OK(t.Append(event));
        Query query(t.db(), "INSERT INTO meta VALUES ('k' || ?, 1)");
        return query.Bind(i).Run();
      }));
      acknowledged_at.push_back(vfs.size());
      // The checkpoint of the write-ahead log must not lose changes either.
      if (i % 40 == 39) {
        auto db = Connection::Open(dir / "trainerd.db", {.vfs = PowerCutVfs::kName});
        ASSERT_OK(db.status());
        ASSERT_OK((*db)->Execute("PRAGMA wal_checkpoint(PASSIVE)"));
      }
    }
  }
  std::mt19937 random(20261124);
  for (int cut = 0; cut < kCuts; ++cut) {
    const size_t at = created_at + random() % (acknowledged_at.back() - created_at + 1);
    TempDir after;
    for (const auto& [name, bytes] : vfs.FilesAfter(at, random)) {
      std::ofstream(after / name, std::ios::binary) << bytes;
    }
    auto db = Connection::Open(after / "trainerd.db", {});
    ASSERT_OK(db.status());
    Query check(**db, "PRAGMA integrity_check");
    ASSERT_TRUE(check.Step()) << check.status();
    EXPECT_EQ(check.Text(0), "ok");
    for (int i = 0; i < kChanges; ++i) {
      Query query(**db,
                  "SELECT (SELECT count(*) FROM meta WHERE key = 'k' || ?1), "
                  "(SELECT count(*) FROM events WHERE seq = ?1 + 1)");
      ASSERT_TRUE(query.Bind(i).Step()) << query.status();
      EXPECT_EQ(query.Int(0), query.Int(1)) << "change " << i << " is half there";
      if (acknowledged_at[static_cast<size_t>(i)] <= at) {
        ASSERT_EQ(query.Int(0), 1) << "change " << i << " was acknowledged before operation " << at;
      }
    }
  }
}

}  // namespace
}  // namespace trainerd::server
