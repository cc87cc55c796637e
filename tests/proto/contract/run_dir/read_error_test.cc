// SPDX-License-Identifier: Apache-2.0
// The codes are those of ErrnoStatus (proto/base/atomic_file.h).
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

TEST(ReadErrorTest, TreatsMissingAndCorruptAsConclusive) {
  EXPECT_TRUE(IsConclusive(absl::NotFoundError("")));
  EXPECT_TRUE(IsConclusive(absl::DataLossError("")));
  EXPECT_TRUE(IsConclusive(absl::FailedPreconditionError("a newer format")));
}

TEST(ReadErrorTest, TreatsTemporaryErrorsAsInconclusive) {
  EXPECT_FALSE(IsConclusive(absl::PermissionDeniedError("")));
  EXPECT_FALSE(IsConclusive(absl::ResourceExhaustedError("no descriptor left")));
  EXPECT_FALSE(IsConclusive(absl::UnavailableError("")));
  EXPECT_FALSE(IsConclusive(absl::InternalError("")));
}

class ConfirmCorruptionTest : public ::testing::Test {
 protected:
  ConfirmCorruptionTest() { std::ofstream(file_) << "bytes"; }
  absl::Status Confirm(const std::vector<absl::Status>& answers) {
    checks_ = 0;
    return ConfirmCorruption({file_, dir_ / "absent"}, [&] { return answers.at(checks_++); });
  }
  TempDir dir_;
  const std::string file_ = dir_ / "checked";
  size_t checks_ = 0;
};

TEST_F(ConfirmCorruptionTest, ConfirmsSecondFailure) {
  EXPECT_TRUE(absl::IsDataLoss(Confirm({absl::DataLossError("1"), absl::DataLossError("2")})));
  EXPECT_EQ(checks_, 2u);
}

TEST_F(ConfirmCorruptionTest, AcceptsSuccessOfSecondCheck) {
  EXPECT_TRUE(Confirm({absl::DataLossError("1"), absl::OkStatus()}).ok());
}

TEST_F(ConfirmCorruptionTest, ReturnsOtherResultsUnchanged) {
  EXPECT_TRUE(Confirm({absl::OkStatus()}).ok());
  EXPECT_TRUE(absl::IsNotFound(Confirm({absl::NotFoundError("")})));
  EXPECT_EQ(checks_, 1u);
}

TEST_F(ConfirmCorruptionTest, ReportsUnreadableFileAsUnavailable) {
  for (const IoFaults::Call call : {IoFaults::Call::kRead, IoFaults::Call::kOpen}) {
    const IoFault fault(call, "/checked", call == IoFaults::Call::kRead ? EIO : EACCES);
    const absl::Status status = Confirm({absl::DataLossError("1"), absl::DataLossError("2")});
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), file_)) << status;
  }
}

}  // namespace
}  // namespace trainerd
