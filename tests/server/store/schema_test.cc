// SPDX-License-Identifier: Apache-2.0
// A migration backs up the database, then runs each step in one transaction. A database of a newer
// version is refused and not changed.
#include "server/store/schema.h"

#include "absl/strings/match.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

const std::vector<std::string>& TwoSteps() {
  static const std::vector<std::string> steps = {
      "CREATE TABLE meta (key TEXT PRIMARY KEY, value); CREATE TABLE a (x)",
      "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x * 2"};
  return steps;
}

std::unique_ptr<Connection> OpenDb(const std::string& path) {
  auto db = Connection::Open(path, {});
  EXPECT_TRUE(db.ok()) << db.status();
  return *std::move(db);
}

int64_t Ask(Connection& db, const char* sql) {
  Query query(db, sql);
  return query.Step() ? query.Int(0) : -1;
}

TEST(SchemaTest, MigratesInStepsAndKeepsBackup) {
  TempDir dir;
  const std::string path = dir / "x.db";
  {
    auto db = OpenDb(path);
    ASSERT_EQ(*Migrate(*db, path, {TwoSteps()[0]}), 1);
    ASSERT_OK(db->Execute("INSERT INTO a VALUES (21)"));
  }
  auto db = OpenDb(path);
  ASSERT_EQ(*Migrate(*db, path, TwoSteps()), 2);
  EXPECT_EQ(Ask(*db, "SELECT y FROM a"), 42);
  auto copy = OpenDb(path + ".v1.backup");
  EXPECT_EQ(Ask(*copy, "PRAGMA user_version"), 1);
  EXPECT_EQ(Ask(*copy, "SELECT x FROM a"), 21);
  EXPECT_EQ(Ask(*copy, "SELECT count(*) FROM pragma_table_info('a')"), 1);
}

TEST(SchemaTest, RefusesNewerDatabaseWithAdvice) {
  TempDir dir;
  const std::string path = dir / "x.db";
  auto db = OpenDb(path);
  ASSERT_OK(db->Execute("PRAGMA user_version=99"));
  const absl::Status status = Migrate(*db, path, TwoSteps()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "version 99")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "Run the newer trainerd")) << status;
  EXPECT_EQ(Ask(*db, "PRAGMA user_version"), 99);
}

TEST(SchemaTest, FailedStepKeepsOldVersion) {
  TempDir dir;
  const std::string path = dir / "x.db";
  auto db = OpenDb(path);
  ASSERT_EQ(*Migrate(*db, path, {TwoSteps()[0]}), 1);
  EXPECT_FALSE(
      Migrate(*db, path, {TwoSteps()[0], "CREATE TABLE b (z); SELECT * FROM nowhere"}).ok());
  EXPECT_EQ(Ask(*db, "PRAGMA user_version"), 1);
  EXPECT_EQ(Ask(*db, "SELECT count(*) FROM sqlite_master WHERE name = 'b'"), 0);
}

TEST(SchemaTest, RealSchemaGivesEachDatabaseAnId) {
  TempDir dir;
  std::string ids[2];
  for (int i = 0; i < 2; ++i) {
    const std::string path = dir / (std::to_string(i) + ".db");
    auto db = OpenDb(path);
    ASSERT_OK(Migrate(*db, path, Migrations()).status());
    ASSERT_OK(Migrate(*db, path, Migrations()).status());  // nothing to do the second time
    ids[i] = *DatabaseId(*db);
    EXPECT_EQ(ids[i].size(), 16u);
  }
  EXPECT_NE(ids[0], ids[1]);
}

}  // namespace
}  // namespace trainerd::server
