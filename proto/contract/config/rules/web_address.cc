// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/web_address.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/contract/config/field_text.h"

namespace trainerd {
namespace {

constexpr size_t kMaxUrlBytes = 1024;
constexpr size_t kMaxHostBytes = 253;
constexpr size_t kMaxPortDigits = 5;
constexpr int kMaxPort = 65535;
constexpr int kHttpPort = 80, kHttpsPort = 443;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

bool IsUrlCharacter(unsigned char c) {
  return c > 0x20 && c < 0x7f && c != '\\' && c != '#' && c != '"' && c != '<' && c != '>';
}

// A name or an IPv4 address.
bool IsName(absl::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_';
  });
}

bool IsBracketed(absl::string_view host) {
  constexpr size_t kBrackets = 2;
  return host.size() > kBrackets && host.front() == '[' && host.back() == ']' &&
         std::all_of(host.begin() + 1, host.end() - 1, [](unsigned char c) {
           return absl::ascii_isxdigit(c) || c == ':' || c == '.';
         });
}

// HOST or HOST:PORT. `port` stays where none is given.
bool SplitHost(absl::string_view text, std::string* host, int* port) {
  const size_t bracket = text.rfind(']');
  const size_t colon = text.find(':', bracket == absl::string_view::npos ? 0 : bracket);
  const absl::string_view name = text.substr(0, colon);
  if (name.size() > kMaxHostBytes || (!IsName(name) && !IsBracketed(name))) return false;
  *host = absl::AsciiStrToLower(name);
  if (colon == absl::string_view::npos) return true;
  const absl::string_view digits = text.substr(colon + 1);
  return IsAllDigits(digits, kMaxPortDigits) && absl::SimpleAtoi(digits, port) && *port > 0 &&
         *port <= kMaxPort;
}

}  // namespace

std::optional<WebAddress> ParseWebAddress(std::string_view url) {
  absl::string_view rest = View(url);
  if (rest.size() > kMaxUrlBytes || !std::all_of(rest.begin(), rest.end(), IsUrlCharacter))
    return std::nullopt;
  const bool tls = absl::ConsumePrefix(&rest, "https://");
  if (!tls && !absl::ConsumePrefix(&rest, "http://")) return std::nullopt;
  const int default_port = tls ? kHttpsPort : kHttpPort;
  WebAddress address{.port = default_port};
  if (!SplitHost(rest.substr(0, rest.find_first_of("/?")), &address.host, &address.port))
    return std::nullopt;
  address.has_default_port = address.port == default_port;
  return address;
}

bool IsHostEntry(std::string_view entry) {
  std::string host;
  int port = 0;
  return SplitHost(View(entry), &host, &port);
}

bool IsOnHost(const WebAddress& address, std::string_view entry) {
  std::string host;
  int port = 0;
  if (!SplitHost(View(entry), &host, &port) || host != address.host) return false;
  return port == 0 ? address.has_default_port : port == address.port;
}

}  // namespace trainerd
