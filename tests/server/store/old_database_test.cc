// SPDX-License-Identifier: Apache-2.0
// A database that an older build wrote (tests/golden/store/v1.sql says how): every value of it is
// there after the migration. Expected values were printed by that build.
#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "proto/contract/config/config_digest.h"
#include "proto/contract/job/audit_hash.h"
#include "proto/contract/job_file/message_to_yaml.h"
#include "server/store/daemon_user.h"
#include "server/store/rows/access/audit_rows.h"
#include "server/store/rows/run_rows.h"
#include "server/store/schema.h"
#include "tests/paths.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kDone[] = "cc5b9c07be3e";
constexpr char kRunning[] = "b95b8b321885";
constexpr char kHeld[] = "38bdfe88f001";

std::string ReadGolden(const std::string& name) {
  std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/store/" + name);
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Names of the messages in `message`, itself included, that hold a field which this build does not
// know.
std::string UnknownFields(const google::protobuf::Message& message) {
  const auto& reflection = *message.GetReflection();
  std::string names;
  if (!reflection.GetUnknownFields(message).empty()) names = message.GetTypeName() + " ";
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->message_type() == nullptr) continue;
    if (!field->is_repeated()) names += UnknownFields(reflection.GetMessage(message, field));
    for (int i = 0; field->is_repeated() && i < reflection.FieldSize(message, field); ++i)
      names += UnknownFields(reflection.GetRepeatedMessage(message, field, i));
  }
  return names;
}

class OldDatabaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = Connection::Open(path_, {});
    ASSERT_OK(opened.status());
    db_ = *std::move(opened);
    ASSERT_OK(db_->Execute(ReadGolden("v1.sql")));
    const auto version = Migrate(*db_, path_, Migrations());
    ASSERT_OK(version.status());
    ASSERT_GE(*version, 2);
  }
  JobRecord Load(const std::string& id) {
    auto record = LoadJob(*db_, id);
    EXPECT_TRUE(record.ok()) << record.status();
    return record.ok() ? *std::move(record) : JobRecord();
  }

  TempDir dir_;
  const std::string path_ = dir_ / "trainerd.db";
  std::unique_ptr<Connection> db_;
};

TEST_F(OldDatabaseTest, KeepsEveryKeyOfEveryJobFile) {
  for (const char* id : {kDone, kRunning, kHeld}) {
    const JobRecord record = Load(id);
    const v1::Job& job = record.job;
    EXPECT_EQ(UnknownFields(job) + UnknownFields(record.ledger), "") << id;
    std::string yaml = ReadGolden(std::string("v1_") + id + ".yaml");
    yaml.erase(0, yaml.find('\n') + 1);  // a comment with name and state
    const std::vector<std::string> given(job.given().begin(), job.given().end());
    EXPECT_EQ(MessageToYaml(job.config(), &given), yaml);
    // The old build computed it from the texts.
    EXPECT_EQ(ConfigDigest(job.config()), job.config_digest()) << id;
  }
}

TEST_F(OldDatabaseTest, MovesDevicesOfJobsAttemptsAndEvents) {
  EXPECT_THAT(Load(kRunning).job.devices(), ElementsAre("cpu"));
  EXPECT_THAT(Load(kDone).job.devices(), IsEmpty());
  for (const char* id : {kDone, kRunning}) {
    const auto attempts = ListAttemptRows(*db_, id, 0, 10);
    ASSERT_OK(attempts.status());
    ASSERT_EQ(attempts->size(), 1u);
    EXPECT_THAT(attempts->at(0).devices(), ElementsAre("cpu"));
    EXPECT_EQ(UnknownFields(attempts->at(0)), "");
  }
  const auto events = ReadEvents(*db_, "", 0, 1000);
  ASSERT_OK(events.status());
  EXPECT_EQ(events->size(), 69u);
  int began = 0;
  for (const EventRecord& record : *events) {
    v1::Event event;
    ASSERT_TRUE(event.ParseFromString(*record.bytes));
    EXPECT_EQ(UnknownFields(event), "") << event.ShortDebugString();
    if (!event.has_attempt_event()) continue;
    ++began;
    EXPECT_THAT(event.attempt_event().attempt().devices(), ElementsAre("cpu"));
  }
  EXPECT_EQ(began, 3);
}

TEST_F(OldDatabaseTest, MovesTokensFromLedgerToCheckpoints) {
  const auto tokens = [&](const char* job, const char* id) -> int64_t {
    const auto row = FindCheckpoint(*db_, job, id);
    EXPECT_TRUE(row.ok() && row->has_value()) << id;
    return row.ok() && row->has_value() ? (*row)->checkpoint.tokens() : -1;
  };
  EXPECT_EQ(tokens(kDone, "step-00000002-a1"), 385);
  EXPECT_EQ(tokens(kDone, "step-00000004-a1"), 771);
  EXPECT_EQ(tokens(kRunning, "step-00000005-a1"), 934);
  EXPECT_EQ(Load(kDone).ledger.best_verified_step(), 4) << "the rest of the ledger stays";
}

TEST_F(OldDatabaseTest, KeepsAnswersOfRepeatedRequests) {
  const auto submitted = FindRequest(*db_, "running-1");
  ASSERT_OK(submitted.status());
  EXPECT_EQ((*submitted)->body_hash, "") << "no client can send the same bytes any more";
  v1::SubmitJobResponse response;
  ASSERT_TRUE(submitted->has_value() && response.ParseFromString((*submitted)->response));
  EXPECT_EQ(UnknownFields(response), "");
  EXPECT_EQ(response.job().name(), std::string("jobs/") + kRunning);
  EXPECT_EQ(response.job().config().data().packing(), v1::DataConfig::PACKING_BFD);
  const auto paused = FindRequest(*db_, "52e9c764a9d51fd09da4c5a97791cf47");
  ASSERT_OK(paused.status());
  v1::Job job;
  ASSERT_TRUE(paused->has_value() && job.ParseFromString((*paused)->response));
  EXPECT_EQ(UnknownFields(job), "");
  EXPECT_EQ(job.config().init_from().state(), v1::InitFromConfig::STATE_WEIGHTS);
}

TEST_F(OldDatabaseTest, MovesTheAuditLogIntoAChain) {
  const auto entries = ListAuditRows(*db_, {});
  ASSERT_OK(entries.status());
  ASSERT_GE(entries->size(), 4u);
  std::string hash = *AuditStart(*db_);
  int64_t seq = 0;
  for (const v1::AuditEntry& entry : *entries) {
    EXPECT_EQ(entry.seq(), ++seq);
    EXPECT_EQ(AuditHash(hash, entry), entry.hash());
    hash = entry.hash();
    EXPECT_EQ(entry.principal(), DaemonUser());
  }
  EXPECT_EQ((*entries)[3].method(), "Trainer.Pause");
  EXPECT_EQ((*entries)[3].resource(), std::string("jobs/") + kHeld);
  EXPECT_EQ((*entries)[3].peer(), "unix:");
}

// A word that this build does not know: the daemon does not start, and the database stays.
TEST(OldDatabaseMigrationTest, RefusesAnUnknownWordAndLeavesTheDatabase) {
  TempDir dir;
  const std::string path = dir / "trainerd.db";
  auto db = Connection::Open(path, {});
  ASSERT_OK(db.status());
  std::string sql = ReadGolden("v1.sql");
  // "regime3" → "regime4", in hexadecimal.
  const size_t at = sql.find("726567696D6533");
  ASSERT_NE(at, std::string::npos);
  sql[at + 13] = '4';
  ASSERT_OK((*db)->Execute(sql));
  const absl::Status status = Migrate(**db, path, Migrations()).status();
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("DataConfig.profile"));
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("\"regime4\""));
  Query version(**db, "PRAGMA user_version");
  ASSERT_TRUE(version.Step());
  EXPECT_EQ(version.Int(0), 1);
}

}  // namespace
}  // namespace trainerd::server
