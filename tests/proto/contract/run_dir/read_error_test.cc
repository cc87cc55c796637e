// SPDX-License-Identifier: Apache-2.0
// Corruption is confirmed only if the bytes can be read; codes are those of proto/base/atomic_file.
#include "proto/contract/run_dir/read_error.h"

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/io_faults.h"
#include "tests/temp_dir.h"

namespace trainerd {
namespace {

TEST(ReadErrorTest, WhatIsOnTheDiskIsAndWhatCannotBeLookedAtIsNot) {
  EXPECT_TRUE(IsConclusive(absl::NotFoundError("")));
  EXPECT_TRUE(IsConclusive(absl::DataLossError("")));
  EXPECT_TRUE(IsConclusive(absl::FailedPreconditionError("a newer format")));
  EXPECT_FALSE(IsConclusive(absl::PermissionDeniedError("")));
  EXPECT_FALSE(IsConclusive(absl::ResourceExhaustedError("no descriptor left")));
  EXPECT_FALSE(IsConclusive(absl::UnavailableError("")));
  EXPECT_FALSE(IsConclusive(absl::InternalError("")));
}

class ConfirmCorruptionTest : public ::testing::Test {
 protected:
  ConfirmCorruptionTest() { std::ofstream(file_) << "bytes"; }
  absl::Status Confirm(const std::vector<absl::Status>& answers) {
    looks_ = 0;
    return ConfirmCorruption({file_, dir_.File("absent")}, [&] { return answers.at(looks_++); });
  }
  testing::TempDir dir_;
  const std::string file_ = dir_.File("looked-at");
  size_t looks_ = 0;
};

TEST_F(ConfirmCorruptionTest, WhatIsWrongTwiceIsDamaged) {
  EXPECT_TRUE(absl::IsDataLoss(Confirm({absl::DataLossError("1"), absl::DataLossError("2")})));
  EXPECT_EQ(looks_, 2u);
}

TEST_F(ConfirmCorruptionTest, WhatIsRightAtTheSecondLookWasMisread) {
  EXPECT_TRUE(Confirm({absl::DataLossError("1"), absl::OkStatus()}).ok());
}

TEST_F(ConfirmCorruptionTest, OtherAnswersAreTakenAsTheyAre) {
  EXPECT_TRUE(Confirm({absl::OkStatus()}).ok());
  EXPECT_TRUE(absl::IsNotFound(Confirm({absl::NotFoundError("")})));
  EXPECT_EQ(looks_, 1u);
}

TEST_F(ConfirmCorruptionTest, WhatCannotBeReadIsNotDamaged) {
  for (const IoFaults::Call call : {IoFaults::Call::kRead, IoFaults::Call::kOpen}) {
    const IoFault fault(call, "/looked-at", call == IoFaults::Call::kRead ? EIO : EACCES);
    const absl::Status status = Confirm({absl::DataLossError("1"), absl::DataLossError("2")});
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), file_)) << status;
  }
}

}  // namespace
}  // namespace trainerd
