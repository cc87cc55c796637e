// SPDX-License-Identifier: Apache-2.0
// Tokens over restarts and time. The clock is the test's.
#include "server/commands/access/tokens.h"

#include "proto/base/atomic_file.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class TokensTest : public ::testing::Test {
 protected:
  TokensTest() { Open(); }
  void Open() {
    tokens_.reset();
    store_.reset();
    auto store = Store::Open({.path = dir_ / "t.db", .clock = clock_.Function()});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
    tokens_ = *Tokens::Open(*store_);
  }
  v1::CreateTokenResponse Create(const std::string& principal, absl::Duration ttl) {
    v1::CreateTokenRequest request;
    request.set_principal(principal);
    request.set_role(v1::ROLE_OPERATOR);
    *request.mutable_ttl() = ToProto(ttl);
    auto response = tokens_->Create(request, "unix:");
    EXPECT_OK(response.status());
    return *response;
  }
  absl::StatusOr<v1::Token> Revoke(const std::string& name) {
    v1::RevokeTokenRequest request;
    request.set_name(name);
    return tokens_->Revoke(request, "unix:");
  }
  v1::ListTokensResponse List(int page_size = 0, const std::string& token = "") {
    v1::ListTokensRequest request;
    request.set_page_size(page_size);
    request.set_page_token(token);
    return *tokens_->List(request);
  }
  int64_t Count(const char* sql) {
    return *store_->Read([&](Connection& db) -> absl::StatusOr<int64_t> {
      Query query(db, sql);
      EXPECT_TRUE(query.Step());
      return query.Int(0);
    });
  }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Tokens> tokens_;
};

TEST_F(TokensTest, StoresTheHashAlone) {
  const v1::CreateTokenResponse created = Create("ann", absl::Hours(1));
  EXPECT_EQ(created.secret().substr(0, 9), "trainerd_");
  EXPECT_GE(created.secret().size(), 9u + 64u);
  EXPECT_NE(Create("ann", absl::Hours(1)).secret(), created.secret());
  const std::string database = *ReadFile(dir_ / "t.db") + *ReadFile(dir_ / "t.db-wal");
  EXPECT_EQ(database.find(created.secret().substr(9)), std::string::npos);
  Open();
  ASSERT_TRUE(tokens_->Find(created.secret()).has_value());
  EXPECT_EQ(tokens_->Find(created.secret())->principal(), "ann");
  EXPECT_FALSE(tokens_->Find(created.secret().substr(1)).has_value());
  EXPECT_FALSE(tokens_->Find("").has_value());
}

TEST_F(TokensTest, EndsWhenRevokedAndWhenExpired) {
  const v1::CreateTokenResponse shorter = Create("a", absl::Minutes(1));
  const v1::CreateTokenResponse longer = Create("b", absl::Hours(2));
  const v1::CreateTokenResponse endless = Create("c", absl::ZeroDuration());
  EXPECT_FALSE(endless.token().has_expire_time());
  clock_.Advance(absl::Seconds(59));
  EXPECT_TRUE(tokens_->Find(shorter.secret()).has_value());
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(tokens_->Find(shorter.secret()).has_value());
  EXPECT_FALSE(tokens_->IsValid(shorter.token().name()));
  EXPECT_TRUE(tokens_->IsValid(longer.token().name()));
  EXPECT_TRUE(Revoke(longer.token().name())->has_revoke_time());
  EXPECT_FALSE(tokens_->Find(longer.secret()).has_value());
  EXPECT_OK(Revoke(longer.token().name()).status());
  EXPECT_TRUE(absl::IsNotFound(Revoke("tokens/none").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Revoke("jobs/a").status()));
  Open();
  EXPECT_FALSE(tokens_->Find(longer.secret()).has_value());
  EXPECT_FALSE(tokens_->Find(shorter.secret()).has_value());
  clock_.Advance(absl::Hours(24 * 365 * 20));
  EXPECT_TRUE(tokens_->Find(endless.secret()).has_value());
  EXPECT_EQ(Count("SELECT count(*) FROM audit WHERE method = 'Admin.RevokeToken'"), 1);
}

TEST_F(TokensTest, NotesTheMinuteOfTheLastUseWithoutAWrite) {
  const v1::CreateTokenResponse created = Create("a", absl::Hours(1));
  EXPECT_FALSE(List().tokens(0).has_last_use_time());
  clock_.Advance(absl::Seconds(90));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(tokens_->Find(created.secret()).has_value());
  EXPECT_EQ(List().tokens(0).last_use_time().seconds() % 60, 0);
  EXPECT_EQ(Count("SELECT last_use_time FROM tokens"), 0);
  Open();
  EXPECT_GT(Count("SELECT last_use_time FROM tokens"), 0) << "stored at the end";
  EXPECT_TRUE(List().tokens(0).has_last_use_time());
}

TEST_F(TokensTest, ListsNewestFirstInPages) {
  for (int i = 0; i < 5; ++i) Create("p" + std::to_string(i), absl::Hours(1));
  std::string seen, token;
  do {
    const v1::ListTokensResponse page = List(2, token);
    for (const v1::Token& entry : page.tokens()) seen += entry.principal() + " ";
    token = page.next_page_token();
  } while (!token.empty());
  EXPECT_EQ(seen, "p4 p3 p2 p1 p0 ");
}

TEST_F(TokensTest, RefusesWhatCannotBeAnOwner) {
  for (const char* bad : {"", "a b", "a,b", "a\nb", "ä", "a'b"}) {
    v1::CreateTokenRequest request;
    request.set_principal(bad);
    request.set_role(v1::ROLE_VIEWER);
    EXPECT_TRUE(absl::IsInvalidArgument(tokens_->Create(request, "unix:").status())) << bad;
  }
  v1::CreateTokenRequest request;
  request.set_principal("ok");
  EXPECT_TRUE(absl::IsInvalidArgument(tokens_->Create(request, "unix:").status())) << "no role";
  request.set_role(v1::ROLE_VIEWER);
  for (const absl::Duration ttl : {absl::Seconds(59), absl::Hours(87'601), -absl::Hours(1)}) {
    *request.mutable_ttl() = ToProto(ttl);
    EXPECT_TRUE(absl::IsInvalidArgument(tokens_->Create(request, "unix:").status())) << ttl;
  }
  request.clear_ttl();
  const auto created = tokens_->Create(request, "unix:");
  ASSERT_OK(created.status());
  EXPECT_EQ(created->token().expire_time().seconds() - created->token().create_time().seconds(),
            90 * 24 * 3600);
}

}  // namespace
}  // namespace trainerd::server
