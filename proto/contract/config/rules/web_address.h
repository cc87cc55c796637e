// SPDX-License-Identifier: Apache-2.0
// Addresses of webhooks, and the hosts on a list. Strict on purpose: what this parser takes, every
// other parser reads with the same host.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trainerd {

struct WebAddress {
  // In lower case; an IPv6 address with its brackets.
  std::string host;
  // Given, or that of the scheme.
  int port = 0;
  bool has_default_port = false;
};

// http:// or https://, a host without user name and password, optionally a port, a path and a
// query; no fragment, white space, control characters or backslashes; at most 1 KiB. nullopt for
// anything else.
std::optional<WebAddress> ParseWebAddress(std::string_view url);

// Whether `entry` has the form HOST or HOST:PORT.
bool IsHostEntry(std::string_view entry);

// Whether `address` is on the host `entry`: HOST stands for the port of the scheme, HOST:PORT for
// that port alone.
bool IsOnHost(const WebAddress& address, std::string_view entry);

}  // namespace trainerd
