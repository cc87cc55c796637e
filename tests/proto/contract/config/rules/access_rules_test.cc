// SPDX-License-Identifier: Apache-2.0
// Through ResolveServerConfig, as the daemon reads its settings.
#include "proto/contract/config/rules/access_rules.h"

#include "gmock/gmock.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kTls[] = "tls: {certificate: /c.pem, key: /k.pem}\n";

std::string Faults(const std::string& yaml) {
  v1::ServerConfig config;
  std::vector<ConfigViolation> violations = YamlToMessage(yaml, &config).violations;
  ResolveServerConfig(config, &violations);
  std::string text;
  for (const ConfigViolation& violation : violations)
    text += violation.path + ": " + violation.message + "\n";
  return text;
}

TEST(AccessRulesTest, TlsListensAnywhere) {
  for (const char* listen : {"'tls:0.0.0.0:7443'", "'tls:[::]:7443'", "'tls:gpu1.example.com:1'",
                             "'tls:127.0.0.1:0'", "[unix, 'tls:[2001:db8::1]:65535']"})
    EXPECT_THAT(Faults(kTls + std::string("listen: ") + listen), IsEmpty()) << listen;
  for (const char* listen : {"'tls:0.0.0.0'", "'tls:'", "'tls::7443'", "'tls:a:70000'", "'tls:a:'",
                             "'tls:::1:80'", "'tls:a/b:80'", "'tls:a:x'", "'TLS:a:1'"})
    EXPECT_THAT(Faults(kTls + std::string("listen: ") + listen), HasSubstr("is refused")) << listen;
  EXPECT_THAT(Faults("listen: 'tls:0.0.0.0:7443'"), HasSubstr("needs the group tls"));
}

TEST(AccessRulesTest, ClientCertificatesNeedAnAuthority) {
  for (const char* mode : {"optional", "required"}) {
    const std::string tls =
        std::string("tls: {certificate: /c, key: /k, client_certificates: ") + mode;
    EXPECT_THAT(Faults(tls + "}"), HasSubstr("tls.client_ca: is required")) << mode;
    EXPECT_THAT(Faults(tls + ", client_ca: /a}"), IsEmpty()) << mode;
  }
  EXPECT_THAT(Faults("tls: {certificate: /c, key: /k, client_certificates: none}"), IsEmpty());
  EXPECT_THAT(Faults("tls: {certificate: /c}"), HasSubstr("tls.key"));
}

TEST(AccessRulesTest, ARoleIsOfOneCertificateOrUser) {
  for (const char* good :
       {"{certificate: a.example}", "{unix_user: ann, role: admin}",
        "{certificate: Ann Smith, principal: ann}", "{certificate: 'spiffe://x/y'}"})
    EXPECT_THAT(Faults(std::string("roles: [") + good + "]"), IsEmpty()) << good;
  for (const char* bad :
       {"{}", "{role: admin}", "{certificate: a, unix_user: b}", "{certificate: ''}"})
    EXPECT_THAT(Faults(std::string("roles: [") + bad + "]"), HasSubstr("exactly one of")) << bad;
  EXPECT_THAT(Faults("roles: [{certificate: Ann Smith}]"), HasSubstr("roles[0].principal"));
  EXPECT_THAT(Faults("roles: [{certificate: a, principal: 'b,c'}]"),
              HasSubstr("roles[0].principal"));
  EXPECT_THAT(Faults("roles: [{certificate: a, role: root}]"),
              HasSubstr("is not one of viewer, operator, admin"));
}

}  // namespace
}  // namespace trainerd
