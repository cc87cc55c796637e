// SPDX-License-Identifier: Apache-2.0
// The chain of the audit log, computed here by the words of AuditEntry.hash.
#include "server/store/rows/access/audit_rows.h"

#include "proto/base/hash.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

std::string HashOf(const std::string& previous, const v1::AuditEntry& entry) {
  std::string bytes = previous;
  for (const std::string& value :
       {std::to_string(entry.seq()), std::to_string(absl::ToUnixMicros(FromProto(entry.time()))),
        entry.principal(), entry.peer(), entry.method(), entry.resource(), entry.request_id(),
        std::to_string(entry.code())})
    bytes += value + '\0';
  return Sha256(bytes);
}

class AuditRowsTest : public ::testing::Test {
 protected:
  AuditRowsTest() {
    auto store = Store::Open({.path = dir_ / "t.db", .clock = clock_.Function()});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
  }
  absl::Status Add(const std::string& resource, const std::string& principal = "ann",
                   const absl::Status& result = absl::OkStatus()) {
    return store_->Change([&](Transaction& t) -> absl::Status {
      const absl::Status stored = StoreAudit(t.db(),
                                             {.method = "Pause",
                                              .resource = resource,
                                              .principal = principal,
                                              .peer = "127.0.0.1:1",
                                              .request_id = "r",
                                              .code = 7},
                                             t.now());
      return stored.ok() ? result : stored;
    });
  }
  std::vector<v1::AuditEntry> List(const AuditQuery& query = {}) {
    return *store_->Read([&](Connection& db) { return ListAuditRows(db, query); });
  }
  std::string Start() {
    return *store_->Read([](Connection& db) { return AuditStart(db); });
  }
  void Prune(absl::Time before) {
    ASSERT_OK(store_->Change([&](Transaction& t) { return PruneAudit(t.db(), before); }));
  }
  void ExpectChain() {
    std::string hash = Start();
    for (const v1::AuditEntry& entry : List()) {
      EXPECT_EQ(HashOf(hash, entry), entry.hash()) << entry.seq();
      hash = entry.hash();
    }
  }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
};

TEST_F(AuditRowsTest, EachRowContinuesTheChain) {
  EXPECT_EQ(Start(), std::string(32, '\0'));
  ASSERT_OK(Add("jobs/a"));
  EXPECT_FALSE(Add("jobs/b", "x", absl::AbortedError("undone")).ok());
  clock_.Advance(absl::Microseconds(1));
  ASSERT_OK(Add("jobs/ä", "b@c"));
  const std::vector<v1::AuditEntry> entries = List();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].seq(), 1);
  EXPECT_EQ(entries[1].seq(), 2) << "without gaps";
  EXPECT_EQ(entries[0].method(), "Trainer.Pause");
  EXPECT_EQ(entries[0].code(), 7);
  EXPECT_EQ(entries[1].principal(), "b@c");
  ExpectChain();
}

TEST_F(AuditRowsTest, TheLastRemovedRowIsTheNewStart) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_OK(Add("jobs/" + std::to_string(i)));
    clock_.Advance(absl::Hours(1));
  }
  const std::vector<v1::AuditEntry> all = List();
  Prune(FromProto(all[0].time()));
  EXPECT_EQ(List().size(), 5u) << "none is older";
  Prune(FromProto(all[2].time()));
  EXPECT_EQ(List().size(), 3u);
  EXPECT_EQ(Start(), all[1].hash());
  ExpectChain();
  Prune(absl::InfiniteFuture());
  EXPECT_EQ(List().size(), 0u);
  EXPECT_EQ(Start(), all[4].hash());
  Prune(absl::InfiniteFuture());
  ASSERT_OK(Add("jobs/new"));
  EXPECT_EQ(List()[0].seq(), 6) << "the numbers continue";
  ExpectChain();
}

TEST_F(AuditRowsTest, KeepsRowsAfterOneThatIsNewEnough) {
  ASSERT_OK(Add("jobs/a"));
  clock_.Advance(-absl::Hours(5));
  ASSERT_OK(Add("jobs/b"));
  Prune(clock_.Now() + absl::Hours(1));
  EXPECT_EQ(List().size(), 2u) << "the clock was set back";
}

TEST_F(AuditRowsTest, FiltersByPrincipalResourceAndTime) {
  for (const char* resource : {"jobs/a", "jobs/a/checkpoints/c", "jobs/ab", "jobs/a0", ""})
    ASSERT_OK(Add(resource));
  clock_.Advance(absl::Hours(1));
  ASSERT_OK(Add("jobs/a", "bob"));
  EXPECT_EQ(List({.resource = "jobs/a"}).size(), 3u);
  EXPECT_EQ(List({.resource = "jobs"}).size(), 5u);
  EXPECT_EQ(List({.principal = "bob"}).size(), 1u);
  EXPECT_EQ(List({.principal = "bob", .resource = "jobs/ab"}).size(), 0u);
  EXPECT_EQ(List({.start_time = clock_.Now()}).size(), 1u);
  EXPECT_EQ(List({.end_time = clock_.Now()}).size(), 5u);
  EXPECT_EQ(List({.after_seq = 4, .limit = 1}).size(), 1u);
  EXPECT_EQ(List({.after_seq = 4})[0].seq(), 5);
}

}  // namespace
}  // namespace trainerd::server
