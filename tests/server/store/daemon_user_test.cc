// SPDX-License-Identifier: Apache-2.0
#include "server/store/daemon_user.h"

#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

TEST(DaemonUserTest, AUserNameIsAPrincipal) {
  EXPECT_EQ(PrincipalOf("alice", 1000), "alice");
  EXPECT_EQ(PrincipalOf("alice.b@example-1", 1000), "alice.b@example-1");
  EXPECT_EQ(PrincipalOf("EXAMPLE\\alice $", 1000), "EXAMPLE_alice__");
  EXPECT_EQ(PrincipalOf("a\xC3\xA9", 1000), "a__");
  EXPECT_EQ(PrincipalOf(std::string(80, 'x'), 1000), std::string(64, 'x'));
  EXPECT_EQ(PrincipalOf("", 1000), "uid-1000");
}

TEST(DaemonUserTest, TheDaemonsUserHasAName) {
  EXPECT_NE(DaemonUser(), "");
  EXPECT_EQ(DaemonUser(), PrincipalOf(DaemonUser(), 0));
}

}  // namespace
}  // namespace trainerd::server
