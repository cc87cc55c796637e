// SPDX-License-Identifier: Apache-2.0
// Addresses that two parsers could read with different hosts are refused.
#include "proto/contract/config/rules/web_address.h"

#include <gtest/gtest.h>

namespace trainerd {
namespace {

std::string HostAndPort(std::string_view url) {
  const std::optional<WebAddress> address = ParseWebAddress(url);
  return address.has_value() ? address->host + ":" + std::to_string(address->port) : "none";
}

TEST(ParseWebAddressTest, FindsHostAndPort) {
  EXPECT_EQ(HostAndPort("https://hooks.example.com/a/b?c=d"), "hooks.example.com:443");
  EXPECT_EQ(HostAndPort("http://hooks.example.com"), "hooks.example.com:80");
  EXPECT_EQ(HostAndPort("https://Hooks.Example.COM:8443/x"), "hooks.example.com:8443");
  EXPECT_EQ(HostAndPort("http://127.0.0.1:9000/x@y"), "127.0.0.1:9000");
  EXPECT_EQ(HostAndPort("http://[::1]:9000/x"), "[::1]:9000");
  EXPECT_EQ(HostAndPort("http://[2001:DB8::1]"), "[2001:db8::1]:80");
  EXPECT_EQ(HostAndPort("http://a?b://c"), "a:80");
}

TEST(ParseWebAddressTest, RefusesEverythingElse) {
  for (const std::string_view url : {"",
                                     "http://",
                                     "https:///x",
                                     "ftp://a/",
                                     "file:///etc/passwd",
                                     "HTTP://a",
                                     "http:/a",
                                     "javascript:x",
                                     "a.example.com",
                                     "//a/b",
                                     "http://user@a/",
                                     "http://user:word@a/",
                                     "http://a\\@b/",
                                     "http://a\\b",
                                     "http://a b/",
                                     "http://a/b c",
                                     "http://a\n/",
                                     "http://a/\t",
                                     "http://a#b",
                                     "http://a/#b",
                                     "http://a:0/",
                                     "http://a:65536/",
                                     "http://a:/",
                                     "http://a:8x/",
                                     "http://a:-1/",
                                     "http://[::1/",
                                     "http://::1/",
                                     "http://[]/",
                                     "http://a%2fb/",
                                     "http://\xc3\xa4.example.com/",
                                     "http://a/\x7f",
                                     "http://:80/",
                                     "http://[::1]x:80/"}) {
    EXPECT_EQ(HostAndPort(url), "none") << url;
  }
  EXPECT_EQ(HostAndPort(std::string("http://a/") + std::string(2000, 'x')), "none");
  EXPECT_EQ(HostAndPort(std::string("http://a\0b/", 11)), "none");
}

bool Matches(std::string_view url, std::string_view entry) {
  const std::optional<WebAddress> address = ParseWebAddress(url);
  EXPECT_TRUE(address.has_value()) << url;
  return address.has_value() && IsOnHost(*address, entry);
}

TEST(IsOnHostTest, ComparesNameAndPortExactly) {
  EXPECT_TRUE(Matches("https://a.example.com/x", "a.example.com"));
  EXPECT_TRUE(Matches("https://A.example.com:443/x", "a.Example.com"));
  EXPECT_TRUE(Matches("http://a.example.com:8080/x", "a.example.com:8080"));
  EXPECT_TRUE(Matches("https://a.example.com/x", "a.example.com:443"));
  EXPECT_TRUE(Matches("http://[::1]:81/x", "[::1]:81"));
  EXPECT_FALSE(Matches("https://b.a.example.com/x", "a.example.com"));
  EXPECT_FALSE(Matches("https://a.example.com.evil.com/x", "a.example.com"));
  EXPECT_FALSE(Matches("https://a.example.com:8080/x", "a.example.com"));
  EXPECT_FALSE(Matches("http://a.example.com/x", "a.example.com:443"));
  EXPECT_FALSE(Matches("http://evil.com/?a.example.com", "a.example.com"));
}

TEST(IsHostEntryTest, TakesHostOrHostWithPort) {
  for (const std::string_view entry : {"a", "a.example.com:1", "127.0.0.1", "[::1]", "[::1]:80"})
    EXPECT_TRUE(IsHostEntry(entry)) << entry;
  for (const std::string_view entry :
       {"", "http://a", "a/b", "*.example.com", "a:", "a:99999", "u@a", "::1", "a b"})
    EXPECT_FALSE(IsHostEntry(entry)) << entry;
}

}  // namespace
}  // namespace trainerd
