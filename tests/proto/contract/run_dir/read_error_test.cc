// SPDX-License-Identifier: Apache-2.0
// Damage is believed only when the bytes can be read; codes are those of
// proto/contract/atomic_file.
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

class BelieveDamageTest : public ::testing::Test {
 protected:
  BelieveDamageTest() { std::ofstream(file_) << "bytes"; }
  absl::Status Believe(const std::vector<absl::Status>& answers) {
    looks_ = 0;
    return ConfirmCorruption({file_, dir_ / "absent"}, [&] { return answers.at(looks_++); });
  }
  TempDir dir_;
  const std::string file_ = dir_ / "looked-at";
  size_t looks_ = 0;
};

TEST_F(BelieveDamageTest, WhatIsWrongTwiceIsDamaged) {
  EXPECT_TRUE(absl::IsDataLoss(Believe({absl::DataLossError("1"), absl::DataLossError("2")})));
  EXPECT_EQ(looks_, 2u);
}

TEST_F(BelieveDamageTest, WhatIsRightAtTheSecondLookWasMisread) {
  EXPECT_TRUE(Believe({absl::DataLossError("1"), absl::OkStatus()}).ok());
}

TEST_F(BelieveDamageTest, OtherAnswersAreTakenAsTheyAre) {
  EXPECT_TRUE(Believe({absl::OkStatus()}).ok());
  EXPECT_TRUE(absl::IsNotFound(Believe({absl::NotFoundError("")})));
  EXPECT_EQ(looks_, 1u);
}

TEST_F(BelieveDamageTest, WhatCannotBeReadIsNotDamaged) {
  for (const IoFaults::Call call : {IoFaults::Call::kRead, IoFaults::Call::kOpen}) {
    const IoFault fault(call, "/looked-at", call == IoFaults::Call::kRead ? EIO : EACCES);
    const absl::Status status = Believe({absl::DataLossError("1"), absl::DataLossError("2")});
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), file_)) << status;
  }
}

}  // namespace
}  // namespace trainerd
