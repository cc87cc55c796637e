// SPDX-License-Identifier: Apache-2.0
// The table from (stage, Status) to what the job shows.
#include "engine/core/job_error.h"

#include <gtest/gtest.h>

#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "tests/temp_dir.h"

namespace trainerd::engine {
namespace {

struct Case {
  const char* stage;
  absl::Status status;
  const char* code;
  v1::JobError::Cause cause;
  bool retryable;
};

TEST(JobErrorTest, EachStageAndCodeHasItsCause) {
  const Case cases[] = {
      {"CheckRunIdentity", absl::FailedPreconditionError("m"), "RUN_IDENTITY", v1::JobError::USER,
       false},
      {"CheckRunIdentity", absl::DataLossError("m"), "CHECKPOINT_DAMAGED", v1::JobError::STORAGE,
       true},
      {"OpenModel", absl::UnimplementedError("m"), "MODEL_INVALID", v1::JobError::USER, false},
      {"OpenModel", absl::DataLossError("m"), "MODEL_INVALID", v1::JobError::USER, false},
      {"PrepareData", absl::InvalidArgumentError("m"), "DATA_INVALID", v1::JobError::DATA, false},
      {"PrepareData", absl::NotFoundError("m"), "DATA_INVALID", v1::JobError::DATA, false},
      {"CheckMasking", absl::InvalidArgumentError("m"), "MASKING_FAULT", v1::JobError::DATA, false},
      {"LoadWeights", absl::InvalidArgumentError("m"), "MODEL_INVALID", v1::JobError::USER, false},
      {"LoadWeights", absl::ResourceExhaustedError("m"), "OUT_OF_MEMORY",
       v1::JobError::OUT_OF_MEMORY, false},
      {"Train", absl::ResourceExhaustedError("m"), "OUT_OF_MEMORY", v1::JobError::OUT_OF_MEMORY,
       false},
      {"Train", absl::InternalError("m"), "INTERNAL", v1::JobError::INTERNAL, true},
      {"Restore", absl::DataLossError("m"), "CHECKPOINT_DAMAGED", v1::JobError::STORAGE, true},
      {"SaveFinal", absl::PermissionDeniedError("m"), "PERMISSION_DENIED", v1::JobError::STORAGE,
       false},
      {"Train", absl::UnavailableError("m"), "DEVICE_UNAVAILABLE", v1::JobError::HARDWARE, true},
  };
  for (const Case& c : cases) {
    const v1::JobError error = ToJobError(c.stage, c.status);
    EXPECT_EQ(error.code(), c.code) << c.stage << " " << c.status;
    EXPECT_EQ(error.cause(), c.cause) << c.stage << " " << c.status;
    EXPECT_EQ(error.retryable(), c.retryable) << c.stage << " " << c.status;
    EXPECT_EQ(error.message(), std::string(c.stage) + ": m");
  }
}

TEST(JobErrorTest, ExplicitCauseOverridesTable) {
  const absl::Status full = WithCause(absl::ResourceExhaustedError("no space"),
                                      {"CHECKPOINT_FAILED", v1::JobError::STORAGE, true});
  const v1::JobError error = ToJobError("Train", Annotate(full, "step 7"));
  EXPECT_EQ(error.code(), "CHECKPOINT_FAILED");
  EXPECT_EQ(error.cause(), v1::JobError::STORAGE);
  EXPECT_TRUE(error.retryable());
  EXPECT_EQ(error.message(), "Train: step 7: no space");
}

TEST(JobErrorTest, WriteErrorBlamesDiskUnlessCauseIsAttached) {
  EXPECT_EQ(WriteCause(absl::ResourceExhaustedError(""), "FINAL_FAILED").code, "FINAL_FAILED");
  EXPECT_EQ(WriteCause(absl::ResourceExhaustedError(""), "FINAL_FAILED").cause,
            v1::JobError::STORAGE);
  // A link or a file on the way to the folder is no fence.
  EXPECT_EQ(WriteCause(absl::FailedPreconditionError(""), "FINAL_FAILED").code, "FINAL_FAILED");
  const absl::Status fault =
      WithCause(absl::UnavailableError(""),
                {.code = "DEVICE_FAULT", .cause = v1::JobError::HARDWARE, .retryable = true});
  EXPECT_EQ(WriteCause(fault, "CHECKPOINT_FAILED").code, "DEVICE_FAULT");
  EXPECT_EQ(WriteCause(fault, "CHECKPOINT_FAILED").cause, v1::JobError::HARDWARE);
}

TEST(JobErrorTest, OtherPublisherIsFence) {
  TempDir folder;
  ASSERT_TRUE(WritePublisher(folder.path(), 2).ok());
  EXPECT_TRUE(CheckFence(folder.path(), 2).ok());
  const absl::Status fence = CheckFence(folder.path(), 1);
  EXPECT_EQ(WriteCause(Annotate(fence, "step 7"), "CHECKPOINT_FAILED").code, "FENCED");
  EXPECT_TRUE(WriteCause(fence, "CHECKPOINT_FAILED").retryable);
}

}  // namespace
}  // namespace trainerd::engine
