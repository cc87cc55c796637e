// SPDX-License-Identifier: Apache-2.0
#include "proto/base/secret/private_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;

class PrivateFileTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& text, mode_t mode) {
    return folder_.Write("secret", text, mode);
  }
  TempDir folder_;
};

TEST_F(PrivateFileTest, ReadsWhatOnlyItsOwnerCanAccess) {
  EXPECT_EQ(ReadPrivateFile(Write("s3cret\n", 0600)).value_or(""), "s3cret\n");
  EXPECT_EQ(ReadPrivateFile(Write("", 0400)).value_or("-"), "");
}

TEST_F(PrivateFileTest, RefusesEveryPermissionOfOthers) {
  for (const mode_t mode : {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0777}) {
    const absl::StatusOr<std::string> text = ReadPrivateFile(Write("s3cret", mode));
    EXPECT_TRUE(absl::IsFailedPrecondition(text.status())) << mode;
    EXPECT_THAT(std::string(text.status().message()), HasSubstr("chmod 600 ")) << mode;
  }
}

TEST_F(PrivateFileTest, RefusesWhatIsNoFileOrTooLong) {
  EXPECT_TRUE(absl::IsNotFound(ReadPrivateFile(folder_ / "absent").status()));
  EXPECT_FALSE(ReadPrivateFile(folder_.path()).ok());
  EXPECT_FALSE(ReadPrivateFile("/dev/null").ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      ReadPrivateFile(Write(std::string((64 << 10) + 1, 'x'), 0600)).status()));
}

}  // namespace
}  // namespace trainerd
