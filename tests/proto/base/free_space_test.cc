// SPDX-License-Identifier: Apache-2.0
#include "proto/base/free_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;

TEST(CheckSpaceTest, ReportsNeededAndFreeSpace) {
  const TempDir dir;
  EXPECT_TRUE(CheckSpace(dir.path(), 1).ok());
  const absl::Status status = CheckSpace(dir / "new", int64_t{1} << 60);
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("it needs 1024 PiB in " + (dir / "new")));
  EXPECT_THAT(std::string(status.message()), HasSubstr("are free"));
}

}  // namespace
}  // namespace trainerd
