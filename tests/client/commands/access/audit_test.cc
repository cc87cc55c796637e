// SPDX-License-Identifier: Apache-2.0
// trainctl audit against the fake daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/hash.h"
#include "proto/contract/job/audit_hash.h"
#include "tests/client/commands/access/fake_access.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AuditCommandTest : public AccessCommandTest {
 protected:
  AuditCommandTest() {
    fake_.start_hash = AuditChainStart();
    Add("Trainer.SubmitJob", "jobs/a", 0);
    Add("Trainer.Pause", "jobs/a\x1b[2J", 7);
    Add("Trainer.Stop", "jobs/a", 3);
    Add("*", "940 more refused calls", 7);
    Add("Admin.Drain", "", 0);
  }
  void Add(const std::string& method, const std::string& resource, int code) {
    const std::string previous =
        fake_.entries.empty() ? fake_.start_hash : fake_.entries.back().hash();
    v1::AuditEntry& entry = fake_.entries.emplace_back();
    entry.set_seq(static_cast<int64_t>(fake_.entries.size()));
    entry.set_principal("ann");
    entry.set_method(method);
    entry.set_resource(resource);
    entry.set_code(code);
    entry.set_hash(AuditHash(previous, entry));
  }
};

TEST_F(AuditCommandTest, LsShowsAllPagesWithTheirResults) {
  const RunResult all = Run({"audit", "ls"});
  EXPECT_EQ(all.code, kDone) << all.err;
  for (const char* word : {"Trainer.SubmitJob", "ok", "denied", "Trainer.Stop",
                           "940 more refused calls", "Admin.Drain"})
    EXPECT_THAT(all.out, HasSubstr(word));
  EXPECT_THAT(all.out, Not(HasSubstr("\x1b")));
  const RunResult lines = Run({"audit", "ls", "-o", "jsonl"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 5);
  EXPECT_THAT(Run({"audit", "ls", "-o", "json"}).out, HasSubstr("\"start_hash\""));
}

TEST_F(AuditCommandTest, LsSendsItsFiltersWithEachPage) {
  EXPECT_EQ(Run({"audit", "ls", "--principal", "ann", "--resource", "jobs/a"}).code, kDone);
  ASSERT_EQ(fake_.audit_requests.size(), 3u);
  for (const v1::ListAuditEntriesRequest& request : fake_.audit_requests) {
    EXPECT_EQ(request.principal(), "ann");
    EXPECT_EQ(request.resource(), "jobs/a");
  }
}

TEST_F(AuditCommandTest, VerifyPrintsTheEndOfTheChain) {
  const RunResult verified = Run({"audit", "verify"});
  EXPECT_EQ(verified.code, kDone) << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("5 entries verified, up to entry 5"));
  EXPECT_THAT(verified.out, HasSubstr(ToHex(fake_.entries.back().hash())));
  EXPECT_THAT(Run({"audit", "verify", "-o", "json"}).out,
              HasSubstr("{\"entries\":5,\"last_seq\":5,\"last_hash\":\""));
}

TEST_F(AuditCommandTest, VerifyNamesTheFirstEntryThatWasChanged) {
  fake_.entries[3].set_principal("mallory");
  const RunResult changed = Run({"audit", "verify"});
  EXPECT_EQ(changed.code, kRefused);
  EXPECT_THAT(changed.err, HasSubstr("damaged at entry 4"));
  fake_.entries.erase(fake_.entries.begin() + 1);
  EXPECT_THAT(Run({"audit", "verify"}).err, HasSubstr("damaged at entry 3"));
}

}  // namespace
}  // namespace trainerd::client
