// SPDX-License-Identifier: Apache-2.0
// Calls whose token ends. The clock is the test's.
#include "server/api/streams.h"

#include "server/commands/access/tokens.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

// Notes what happens to it.
class FakeCall final : public OpenCall {
 public:
  void Revoke() override { ++revoked; }
  void Break() override {
    ++broken;
    on_break();
  }
  int revoked = 0;
  int broken = 0;
  std::function<void()> on_break = [] {};
};

class StreamLimitTest : public ::testing::Test {
 protected:
  void EndRevoked() {
    streams_.EndRevoked([&](const std::string& token) { return valid_.contains(token); });
  }

  FakeClock clock_;
  std::set<std::string> valid_ = {"tokens/a", "tokens/b"};
  StreamLimit streams_{3, clock_.Function()};
};

TEST_F(StreamLimitTest, BreaksWhatDoesNotEndWhenItIsRevoked) {
  FakeCall stuck, other, without_token;
  ASSERT_OK(streams_.Enter(&stuck, "tokens/a"));
  ASSERT_OK(streams_.Enter(&other, "tokens/b"));
  ASSERT_OK(streams_.Enter(&without_token, ""));
  EndRevoked();
  EXPECT_EQ(stuck.revoked, 0);
  valid_.erase("tokens/a");
  EndRevoked();
  EndRevoked();
  EXPECT_EQ(stuck.revoked, 1);
  clock_.Advance(kRevokePatience - absl::Milliseconds(1));
  EndRevoked();
  EXPECT_EQ(stuck.broken, 0) << "it may still end by itself";
  clock_.Advance(absl::Milliseconds(1));
  // As gRPC does: the call ends within its cancellation.
  stuck.on_break = [&] { streams_.Leave(&stuck); };
  EndRevoked();
  EndRevoked();
  EXPECT_EQ(stuck.broken, 1);
  EXPECT_EQ(other.revoked + other.broken + without_token.revoked + without_token.broken, 0);
  // The place is free again.
  FakeCall next;
  EXPECT_OK(streams_.Enter(&next, "tokens/b"));
}

TEST_F(StreamLimitTest, ACallThatHasEndedIsNotBroken) {
  FakeCall first, second;
  ASSERT_OK(streams_.Enter(&first, "tokens/a"));
  ASSERT_OK(streams_.Enter(&second, "tokens/a"));
  valid_.clear();
  EndRevoked();
  clock_.Advance(kRevokePatience);
  // One end is the other's, too.
  first.on_break = second.on_break = [&] {
    streams_.Leave(&first);
    streams_.Leave(&second);
  };
  EndRevoked();
  EXPECT_EQ(first.broken + second.broken, 1);
}

TEST_F(StreamLimitTest, ATokenThatExpiresEndsItsCalls) {
  TempDir dir;
  auto store = Store::Open({.path = dir / "t.db", .clock = clock_.Function()});
  ASSERT_OK(store.status());
  auto tokens = Tokens::Open(**store);
  ASSERT_OK(tokens.status());
  v1::CreateTokenRequest request;
  request.set_principal("ann");
  request.set_role(v1::ROLE_VIEWER);
  request.mutable_ttl()->set_seconds(60);
  const auto created = (*tokens)->Create(request, "unix:");
  ASSERT_OK(created.status());
  FakeCall call;
  ASSERT_OK(streams_.Enter(&call, created->token().name()));
  const auto check = [&] {
    streams_.EndRevoked([&](const std::string& token) { return (*tokens)->IsValid(token); });
  };
  clock_.Advance(absl::Seconds(59));
  check();
  EXPECT_EQ(call.revoked, 0);
  clock_.Advance(absl::Seconds(1));
  // The checks continue once per second after the token has ended, so that the call is broken soon.
  absl::Mutex mutex;
  int checks = 0;
  (*tokens)->Start([&] {
    check();
    absl::MutexLock lock(&mutex);
    ++checks;
  });
  {
    auto three = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return checks >= 3; };
    absl::MutexLock lock(&mutex);
    EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&three), absl::Seconds(30)));
  }
  (*tokens)->Stop();
  EXPECT_EQ(call.revoked, 1);
}

}  // namespace
}  // namespace trainerd::server
