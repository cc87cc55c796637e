// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/downloads_in_use.h"

#include <gtest/gtest.h>

namespace trainerd::server {
namespace {

using Names = std::set<std::string>;

class DownloadsInUseTest : public ::testing::Test {
 protected:
  absl::Time now_ = absl::UnixEpoch();
  DownloadsInUse downloads_{[this] { return now_; }};
};

TEST_F(DownloadsInUseTest, KeepsEachForTenMinutesAfterItsLastRead) {
  EXPECT_FALSE(downloads_.Names().contains("a"));
  downloads_.Touch("a");
  now_ += absl::Minutes(9);
  downloads_.Touch("b");
  EXPECT_EQ(downloads_.Names(), (Names{"a", "b"}));
  now_ += absl::Minutes(2);
  EXPECT_FALSE(downloads_.Names().contains("a"));
  EXPECT_EQ(downloads_.Names(), Names{"b"});
}

TEST_F(DownloadsInUseTest, CountsFromTheLastOfSeveralReads) {
  for (int i = 0; i < 5; ++i) {
    downloads_.Touch("a");
    now_ += absl::Minutes(8);
    EXPECT_TRUE(downloads_.Names().contains("a"));
  }
  now_ += absl::Minutes(3);
  EXPECT_EQ(downloads_.Names(), Names{});
  // A new name drops what has expired, and keeps the rest.
  downloads_.Touch("b");
  downloads_.Touch("c");
  EXPECT_EQ(downloads_.Names(), (Names{"b", "c"}));
}

}  // namespace
}  // namespace trainerd::server
