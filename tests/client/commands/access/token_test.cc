// SPDX-License-Identifier: Apache-2.0
// trainctl token against the fake daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/commands/access/fake_access.h"

namespace trainerd::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class TokenCommandTest : public AccessCommandTest {
 protected:
  void Add(const std::string& name, const std::string& principal) {
    v1::Token& token = fake_.tokens.emplace_back();
    token.set_name(name);
    token.set_principal(principal);
    token.set_role(v1::ROLE_OPERATOR);
    token.mutable_create_time()->set_seconds(1'700'000'000);
  }
};

TEST_F(TokenCommandTest, CreatePrintsTheSecretAloneOnStdout) {
  const RunResult created = Run({"token", "create", "ann", "--role", "operator"});
  EXPECT_EQ(created.code, kDone) << created.err;
  EXPECT_EQ(created.out, "trainerd_secret\n");
  EXPECT_THAT(created.err, HasSubstr("tokens/0123: operator ann, until 2030-03-1"));
  EXPECT_THAT(created.err, Not(HasSubstr("trainerd_secret")));
  ASSERT_EQ(fake_.creates.size(), 1u);
  EXPECT_EQ(fake_.creates[0].principal(), "ann");
  EXPECT_EQ(fake_.creates[0].role(), v1::ROLE_OPERATOR);
  EXPECT_FALSE(fake_.creates[0].has_ttl()) << "the daemon's default";
  EXPECT_THAT(Run({"token", "create", "ann", "-o", "json"}).out,
              HasSubstr("\"secret\": \"trainerd_secret\""));
  EXPECT_EQ(fake_.creates.back().role(), v1::ROLE_VIEWER);
}

TEST_F(TokenCommandTest, CreateSendsTheTimeUntilItExpires) {
  EXPECT_EQ(Run({"token", "create", "ann", "--ttl", "36h"}).code, kDone);
  EXPECT_EQ(fake_.creates.back().ttl().seconds(), 36 * 3600);
  const RunResult never = Run({"token", "create", "ann", "--ttl", "never"});
  EXPECT_THAT(never.err, HasSubstr("does not expire"));
  EXPECT_TRUE(fake_.creates.back().has_ttl());
  EXPECT_EQ(fake_.creates.back().ttl().seconds(), 0);
  const size_t calls = fake_.creates.size();
  EXPECT_EQ(Run({"token", "create", "ann", "--ttl", "soon"}).code, kUsage);
  const RunResult role = Run({"token", "create", "ann", "--role", "root"});
  EXPECT_EQ(role.code, kUsage);
  EXPECT_THAT(role.err, HasSubstr("operator"));
  EXPECT_EQ(Run({"token", "create"}).code, kUsage);
  EXPECT_EQ(fake_.creates.size(), calls);
}

TEST_F(TokenCommandTest, CreateIsNeverRepeated) {
  fake_.loses_answers = true;
  EXPECT_NE(Run({"token", "create", "ann"}).code, kDone);
  EXPECT_EQ(fake_.creates.size(), 1u);
}

TEST_F(TokenCommandTest, LsShowsAllPagesWithTheirStates) {
  Add("tokens/a", "ann");
  Add("tokens/b", "bob\x1b[2J");
  Add("tokens/c", "carl");
  fake_.tokens[1].mutable_revoke_time()->set_seconds(1'700'000'001);
  fake_.tokens[2].mutable_expire_time()->set_seconds(1'700'000'001);
  const RunResult all = Run({"token", "ls"});
  EXPECT_EQ(all.code, kDone) << all.err;
  for (const char* word :
       {"ann", "bob", "carl", "operator", "valid", "revoked", "expired", "never"})
    EXPECT_THAT(all.out, HasSubstr(word));
  EXPECT_THAT(all.out, Not(HasSubstr("\x1b")));
  const RunResult lines = Run({"token", "ls", "-o", "jsonl"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 3);
  EXPECT_THAT(Run({"token", "ls", "-o", "json"}).out, HasSubstr("\"tokens/c\""));
}

TEST_F(TokenCommandTest, RevokeTakesTheNameWithAndWithoutItsPrefix) {
  Add("tokens/a", "ann");
  EXPECT_THAT(Run({"token", "revoke", "a"}).out, HasSubstr("tokens/a of ann is revoked"));
  EXPECT_THAT(Run({"token", "revoke", "tokens/a", "-o", "json"}).out, HasSubstr("revoke_time"));
  const RunResult none = Run({"token", "revoke", "z"});
  EXPECT_EQ(none.code, kRefused);
  EXPECT_THAT(none.err, HasSubstr("tokens/z does not exist"));
  EXPECT_THAT(fake_.revocations, ElementsAre("tokens/a", "tokens/a", "tokens/z"));
}

}  // namespace
}  // namespace trainerd::client
