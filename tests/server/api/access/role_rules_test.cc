// SPDX-License-Identifier: Apache-2.0
// The table against the descriptors: each RPC has one rule, whose field exists.
#include "server/api/access/role_rules.h"

#include <set>

#include "proto/contract/job/api_services.h"
#include "server/api/access/access.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {
namespace {

std::unique_ptr<google::protobuf::Message> NewRequest(
    const google::protobuf::MethodDescriptor& method) {
  const auto* prototype =
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(method.input_type());
  return std::unique_ptr<google::protobuf::Message>(prototype->New());
}

TEST(RoleRulesTest, HasOneRuleForEachRpc) {
  std::set<std::string> ruled;
  for (const AccessRule& rule : AccessRules())
    EXPECT_TRUE(ruled.insert(std::string(rule.method)).second) << rule.method;
  std::set<std::string> rpcs;
  for (const auto* service : ApiServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      rpcs.insert(service->name() + "." + method.name());
      const AccessRule* rule = RuleFor(*NewRequest(method));
      ASSERT_NE(rule, nullptr) << method.full_name() << " has no rule in AccessRules";
      EXPECT_EQ(rule->method, service->name() + "." + method.name())
          << "the type of its request belongs to another call";
    }
  }
  EXPECT_EQ(ruled, rpcs);
}

TEST(RoleRulesTest, NamesAFieldOfTheRequest) {
  for (const auto* service : ApiServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const std::unique_ptr<google::protobuf::Message> request = NewRequest(*service->method(i));
      const AccessRule& rule = *RuleFor(*request);
      EXPECT_FALSE(rule.owned && rule.resource.empty()) << rule.method;
      if (rule.resource.empty()) continue;
      google::protobuf::Message* at = request.get();
      std::string path(rule.resource);
      if (const size_t dot = path.find('.'); dot != std::string::npos) {
        const auto* group = at->GetDescriptor()->FindFieldByName(path.substr(0, dot));
        ASSERT_NE(group, nullptr) << rule.method;
        at = at->GetReflection()->MutableMessage(at, group);
        path = path.substr(dot + 1);
      }
      const auto* field = at->GetDescriptor()->FindFieldByName(path);
      ASSERT_NE(field, nullptr) << rule.method << " has no field " << rule.resource;
      at->GetReflection()->SetString(at, field, "jobs/a");
      EXPECT_EQ(ResourceOf(rule, *request), "jobs/a") << rule.method;
    }
  }
}

TEST(RoleRulesTest, CollectGarbageNeedsTheRoleOfWhatItRemoves) {
  v1::CollectGarbageRequest request;
  request.set_parent("jobs/a");
  EXPECT_EQ(RuleFor(request)->role, v1::ROLE_OPERATOR);
  EXPECT_TRUE(RuleFor(request)->owned);
  request.set_parent("jobs/-");
  EXPECT_EQ(RuleFor(request)->role, v1::ROLE_ADMIN);
  request.set_dry_run(true);
  EXPECT_EQ(RuleFor(request)->role, v1::ROLE_VIEWER);
}

TEST(RoleRulesTest, NobodyMayCallWithoutARule) { EXPECT_EQ(RuleFor(v1::Job()), nullptr); }

TEST(PeerAddressTest, IsThatOfTheSocket) {
  EXPECT_EQ(PeerAddress("ipv4:127.0.0.1:4711"), "127.0.0.1:4711");
  EXPECT_EQ(PeerAddress("ipv6:%5B::1%5D:4711"), "[::1]:4711");
}

class IdentifyTest : public ::testing::Test {
 protected:
  IdentifyTest() {
    auto store = Store::Open({.path = dir_ / "t.db", .clock = clock_.Function()});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
    tokens_ = *Tokens::Open(*store_);
    v1::RoleConfig first, second, user;
    first.set_certificate("a.example");
    first.set_role(v1::ROLE_VIEWER);
    second.set_certificate("b.example");
    second.set_principal("bea");
    second.set_role(v1::ROLE_ADMIN);
    user.set_unix_user("nobody");
    user.set_role(v1::ROLE_OPERATOR);
    access_ = std::make_unique<Access>(
        Access::Options{.daemon_token = "secret-of-daemon", .roles = {first, second, user}},
        *store_, *tokens_);
  }
  std::string Who(CallFacts facts) {
    facts.peer = "p";
    const auto identity = access_->Identify(facts);
    if (!identity.ok()) return std::string(identity.status().message()).substr(0, 25);
    return identity->caller.principal + " " + RoleName(identity->role);
  }
  using Transport = CallFacts::Transport;

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<Access> access_;
};

TEST_F(IdentifyTest, TakesTheFirstRoleThatMatchesTheCertificate) {
  const auto tls = Transport::kTls;
  EXPECT_EQ(Who({.transport = tls, .certificate_names = {"x", "a.example"}}), "a.example viewer");
  EXPECT_EQ(Who({.transport = tls, .certificate_names = {"b.example", "a.example"}}),
            "a.example viewer");
  EXPECT_EQ(Who({.transport = tls, .certificate_names = {"b.example"}}), "bea admin");
  EXPECT_EQ(Who({.transport = tls, .certificate_names = {"A.example"}}), "A.example none");
  EXPECT_EQ(Who({.transport = tls}), "this address requires a c");
}

TEST_F(IdentifyTest, ATokenDecidesWhereverItIsSent) {
  for (const auto transport : {Transport::kTls, Transport::kLoopback, Transport::kUnix}) {
    CallFacts facts{.transport = transport, .uid = 0, .certificate_names = {"a.example"}};
    facts.authorization = "Bearer secret-of-daemon";
    EXPECT_EQ(Who(facts), DaemonUser() + " admin");
    for (const char* bad : {"Bearer secret-of-daemo", "bearer secret-of-daemon", "", "Bearer ",
                            "secret-of-daemon", "Bearer secret-of-daemon "}) {
      facts.authorization = bad;
      EXPECT_EQ(Who(facts), "the token was refused: th") << bad;
    }
  }
}

TEST_F(IdentifyTest, KnowsTheUsersOfAUnixSocket) {
  const auto unix_socket = Transport::kUnix;
  EXPECT_EQ(Who({.transport = unix_socket, .uid = ::geteuid()}), DaemonUser() + " admin");
  EXPECT_EQ(Who({.transport = unix_socket, .uid = 65534}), "nobody operator");
  EXPECT_EQ(Who({.transport = unix_socket, .uid = 4242}), "unknown user none");
  EXPECT_EQ(Who({.transport = unix_socket}), "unknown user none");
}

}  // namespace
}  // namespace trainerd::server
