// SPDX-License-Identifier: Apache-2.0
// The options of the RPCs: each has one, whose fields exist.
#include "server/api/access/role_rules.h"

#include <algorithm>
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

std::vector<const google::protobuf::MethodDescriptor*> Methods() {
  std::vector<const google::protobuf::MethodDescriptor*> methods;
  for (const auto* service : ApiServices()) {
    for (int i = 0; i < service->method_count(); ++i) methods.push_back(service->method(i));
  }
  return methods;
}

TEST(RoleRulesTest, EachRpcHasItsOwn) {
  for (const auto* method : Methods()) {
    const std::optional<AccessRule> rule = RuleFor(*NewRequest(*method));
    ASSERT_TRUE(rule.has_value()) << method->full_name() << " has no option (access)";
    EXPECT_EQ(rule->method, method->service()->name() + "." + method->name())
        << "the type of its request belongs to another call";
    EXPECT_GE(rule->role, v1::ROLE_VIEWER) << rule->method;
  }
}

// Independent of the options: what would be an escalation.
TEST(RoleRulesTest, ViewersReadAndOperatorsChangeWhatTheyOwn) {
  const std::set<std::string_view> admin = {
      "Admin.RetryNotification", "Admin.Drain",       "Admin.Undrain",         "Admin.CreateToken",
      "Admin.ListTokens",        "Admin.RevokeToken", "Admin.ListAuditEntries"};
  // They create something, or are open to every evaluator.
  const std::set<std::string_view> of_nobody = {
      "Trainer.SubmitJob", "Files.UploadFile", "Evaluations.LeaseEvaluation",
      "Evaluations.RenewEvaluation", "Evaluations.ReportEvaluation"};
  const std::vector<std::string> reads = {"Get",  "List",    "Query",   "Stream",
                                          "Wait", "Explain", "Download"};
  for (const auto* method : Methods()) {
    const AccessRule rule = *RuleFor(*NewRequest(*method));
    const bool is_read = std::any_of(reads.begin(), reads.end(), [&](const std::string& verb) {
      return method->name().starts_with(verb);
    });
    if (admin.contains(rule.method)) {
      EXPECT_EQ(rule.role, v1::ROLE_ADMIN) << rule.method;
    } else if (!is_read) {
      EXPECT_GE(rule.role, v1::ROLE_OPERATOR) << rule.method << " changes something";
      EXPECT_EQ(rule.owned, !of_nobody.contains(rule.method)) << rule.method;
    }
  }
}

TEST(RoleRulesTest, NamesAFieldOfTheRequest) {
  using Access = v1::CallAccess;
  const std::set<Access::ResourceType> with_owner = {Access::JOB, Access::CHECKPOINT, Access::MODEL,
                                                     Access::EVALUATION, Access::FILE};
  for (const auto* method : Methods()) {
    const std::unique_ptr<google::protobuf::Message> request = NewRequest(*method);
    const AccessRule rule = *RuleFor(*request);
    EXPECT_EQ(rule.resource.empty(), rule.resource_type == Access::RESOURCE_TYPE_UNSPECIFIED)
        << rule.method;
    if (rule.owned) {
      EXPECT_TRUE(with_owner.contains(rule.resource_type)) << rule.method;
    }
    for (const auto& exception : method->options().GetExtension(v1::access).unless()) {
      const auto* field = method->input_type()->FindFieldByName(exception.field());
      ASSERT_NE(field, nullptr) << rule.method << " has no field " << exception.field();
      EXPECT_TRUE(field->cpp_type() == field->CPPTYPE_BOOL ||
                  field->cpp_type() == field->CPPTYPE_STRING)
          << rule.method;
      EXPECT_GE(exception.role(), v1::ROLE_VIEWER) << rule.method;
    }
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

TEST(RoleRulesTest, CollectGarbageNeedsTheRoleOfWhatItRemoves) {
  v1::CollectGarbageRequest request;
  request.set_parent("jobs/a");
  EXPECT_EQ(RuleFor(request)->role, v1::ROLE_OPERATOR);
  EXPECT_TRUE(RuleFor(request)->owned);
  request.set_parent("jobs/-");
  EXPECT_EQ(RuleFor(request)->role, v1::ROLE_ADMIN);
  request.set_dry_run(true);
  EXPECT_EQ(RuleFor(request)->role, v1::ROLE_VIEWER);
  EXPECT_FALSE(RuleFor(request)->owned);
}

TEST(RoleRulesTest, NobodyMayCallWithoutARule) { EXPECT_FALSE(RuleFor(v1::Job()).has_value()); }

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
