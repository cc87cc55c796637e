// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/downloads_in_use.h"

#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using Names = std::set<std::string>;

class DownloadsInUseTest : public ::testing::Test {
 protected:
  DownloadsInUseTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db"});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
    Restart();
  }
  void Restart() {
    downloads_ = std::make_unique<DownloadsInUse>(*store_, [this] { return now_; });
    EXPECT_OK(downloads_->Load());
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  absl::Time now_ = absl::UnixEpoch();
  std::unique_ptr<DownloadsInUse> downloads_;
};

TEST_F(DownloadsInUseTest, KeepsEachForTenMinutesAfterItsLastRead) {
  EXPECT_FALSE(downloads_->Names().contains("a"));
  downloads_->Touch("a");
  now_ += absl::Minutes(9);
  downloads_->Touch("b");
  EXPECT_EQ(downloads_->Names(), (Names{"a", "b"}));
  now_ += absl::Minutes(2);
  EXPECT_FALSE(downloads_->Names().contains("a"));
  EXPECT_EQ(downloads_->Names(), Names{"b"});
}

TEST_F(DownloadsInUseTest, CountsFromTheLastOfSeveralReads) {
  for (int i = 0; i < 5; ++i) {
    downloads_->Touch("a");
    now_ += absl::Minutes(8);
    EXPECT_TRUE(downloads_->Names().contains("a"));
  }
  now_ += absl::Minutes(3);
  EXPECT_EQ(downloads_->Names(), Names{});
  // A new name drops what has expired, and keeps the rest.
  downloads_->Touch("b");
  downloads_->Touch("c");
  EXPECT_EQ(downloads_->Names(), (Names{"b", "c"}));
}

TEST_F(DownloadsInUseTest, ARestartForgetsNoneAndCountsAsARead) {
  downloads_->Touch("old");
  now_ += absl::Minutes(11);
  downloads_->Touch("a");
  now_ += absl::Minutes(9);
  Restart();
  EXPECT_EQ(downloads_->Names(), Names{"a"}) << "old had expired";
  now_ += absl::Minutes(9);
  EXPECT_EQ(downloads_->Names(), Names{"a"});
  now_ += absl::Minutes(2);
  EXPECT_EQ(downloads_->Names(), Names{});
}

}  // namespace
}  // namespace trainerd::server
