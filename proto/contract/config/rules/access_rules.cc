// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/access_rules.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/contract/config/field_text.h"

namespace trainerd {
namespace {

using Violations = std::vector<ConfigViolation>;

constexpr size_t kMaxPrincipalBytes = 128;
constexpr int kMaxRoles = 1000;
constexpr char kTls[] = "tls:";

bool IsPort(absl::string_view text) {
  int number = 0;
  return IsAllDigits(text, 5) && absl::SimpleAtoi(text, &number) && number <= 65535;
}

// HOST:PORT, with an IPv6 address in brackets.
bool IsHostPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0 || !IsPort(text.substr(colon + 1)))
    return false;
  const absl::string_view host = text.substr(0, colon);
  const bool bracketed = absl::StartsWith(host, "[") && absl::EndsWith(host, "]");
  return bracketed || host.find_first_of("[]:/ ") == absl::string_view::npos;
}

bool IsListenAddress(const std::string& listen) {
  if (listen == "unix" || (absl::StartsWith(listen, "unix:") && listen.size() > 5)) return true;
  absl::string_view rest = listen;
  if (absl::ConsumePrefix(&rest, kTls)) return IsHostPort(rest);
  return (absl::ConsumePrefix(&rest, "127.0.0.1:") || absl::ConsumePrefix(&rest, "[::1]:")) &&
         IsPort(rest);
}

void CheckListen(const v1::ServerConfig& config, Violations* violations) {
  for (int i = 0; i < config.listen_size(); ++i) {
    const std::string& listen = config.listen(i);
    const std::string key = config.listen_size() == 1 ? "listen" : absl::StrCat("listen[", i, "]");
    if (!IsListenAddress(listen)) {
      violations->push_back(
          {key, absl::StrCat(Quoted(listen),
                             " is refused: write unix, unix:PATH, 127.0.0.1:PORT or [::1]:PORT. "
                             "To reach the daemon from elsewhere write tls:HOST:PORT, with the "
                             "group tls")});
    } else if (absl::StartsWith(listen, kTls) && !config.has_tls()) {
      violations->push_back(
          {key, absl::StrCat(Quoted(listen),
                             " needs the group tls; name the files of a certificate and its key "
                             "there")});
    }
  }
}

void CheckTls(const v1::TlsConfig& tls, Violations* violations) {
  const auto mode = tls.client_certificates();
  const bool needs_authority = mode == v1::TlsConfig::CLIENT_CERTIFICATES_OPTIONAL ||
                               mode == v1::TlsConfig::CLIENT_CERTIFICATES_REQUIRED;
  if (!needs_authority || tls.has_client_ca()) return;
  violations->push_back({"tls.client_ca",
                         "is required with this tls.client_certificates; name the file of the "
                         "authorities that sign client certificates"});
}

void CheckRole(const v1::RoleConfig& role, const std::string& key, Violations* violations) {
  if (role.certificate().empty() == role.unix_user().empty()) {
    violations->push_back({key, "needs exactly one of certificate and unix_user"});
    return;
  }
  if (role.has_principal() && !IsPrincipal(role.principal())) {
    violations->push_back(
        {key + ".principal",
         absl::StrCat(Quoted(role.principal()), " is not 1 to ", kMaxPrincipalBytes,
                      " of the characters A-Z a-z 0-9 . _ @ : / + -")});
  }
  const std::string& text = role.certificate().empty() ? role.unix_user() : role.certificate();
  if (role.has_principal() || IsPrincipal(text)) return;
  violations->push_back(
      {key + ".principal",
       absl::StrCat("is required, because ", Quoted(text),
                    " cannot be the name of an owner; use 1 to ", kMaxPrincipalBytes,
                    " of the characters A-Z a-z 0-9 . _ @ : / + -")});
}

}  // namespace

bool IsPrincipal(std::string_view text) {
  return !text.empty() && text.size() <= kMaxPrincipalBytes &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || (c != '\0' && std::strchr("._@:/+-", c) != nullptr);
         });
}

void CheckAccess(const v1::ServerConfig& config, Violations* violations) {
  CheckListen(config, violations);
  if (config.has_tls()) CheckTls(config.tls(), violations);
  if (config.roles_size() > kMaxRoles) {
    violations->push_back(
        {"roles", absl::StrCat("has ", config.roles_size(), " entries; the limit is ", kMaxRoles)});
    return;
  }
  for (int i = 0; i < config.roles_size(); ++i)
    CheckRole(config.roles(i), absl::StrCat("roles[", i, "]"), violations);
}

}  // namespace trainerd
