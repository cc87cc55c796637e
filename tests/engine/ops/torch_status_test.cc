// SPDX-License-Identifier: Apache-2.0
// Exceptions of LibTorch become statuses that people can act on.
#include "engine/platform/torch_status.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>

#include "engine/core/job_error.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

TEST(TorchStatusTest, OutOfMemoryNamesTheBytesAndWhatToLower) {
  const absl::Status status = CatchTorch([] { at::empty({int64_t{1} << 50}); });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("4503599627370496"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("train.batch_size"));
}

TEST(TorchStatusTest, OtherErrorsAreInternalWithoutBacktrace) {
  const absl::Status status = CatchTorch([] { at::mm(at::empty({2, 3}), at::empty({2, 3})); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("2x3"));
  EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("frame #0")));
}

// As the job reports it.
v1::JobError ErrorOf(const absl::Status& status) { return ToJobError("Train", status); }

TEST(TorchStatusTest, FaultOfTheDeviceIsHardware) {
  // cudaErrorLaunchFailure, cudaErrorECCUncorrectable, cudaErrorIllegalAddress.
  for (const int32_t code : {719, 214, 700}) {
    const absl::Status status = CatchTorch([&] {
      throw c10::AcceleratorError({"f", "file", 1}, code,
                                  "CUDA error: unspecified launch failure\nSearch for `cudaError'");
    });
    const v1::JobError error = ErrorOf(status);
    EXPECT_EQ(error.code(), "DEVICE_FAULT") << status;
    EXPECT_EQ(error.cause(), v1::JobError::HARDWARE);
    EXPECT_TRUE(error.retryable());
    EXPECT_THAT(error.message(), HasSubstr("CUDA error: unspecified launch failure; if"));
  }
  for (const char* message :
       {"CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle)`",
        "CUDA driver error: unknown error", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"}) {
    const absl::Status status = CatchTorch([&] { TORCH_CHECK(false, message); });
    EXPECT_EQ(ErrorOf(status).cause(), v1::JobError::HARDWARE) << status;
  }
}

TEST(TorchStatusTest, FullDeviceIsOutOfMemoryWhoeverReportsIt) {
  const absl::Status of_cublas = CatchTorch([] {
    TORCH_CHECK(false,
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`");
  });
  const absl::Status of_driver =
      CatchTorch([] { TORCH_CHECK(false, "CUDA driver error: out of memory"); });
  const absl::Status of_runtime = CatchTorch([] {
    throw c10::AcceleratorError({"f", "file", 1}, 2, "CUDA error: out of memory\nmore");
  });
  for (const absl::Status& status : {of_cublas, of_driver, of_runtime}) {
    EXPECT_EQ(ErrorOf(status).code(), "OUT_OF_MEMORY") << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("train.batch_size"));
  }
}

TEST(TorchStatusTest, WrongCallOfTheRuntimeIsInternal) {
  const absl::Status status = CatchTorch([] {
    throw c10::AcceleratorError({"f", "file", 1}, 9, "CUDA error: invalid configuration");
  });
  EXPECT_EQ(ErrorOf(status).code(), "INTERNAL") << status;
}

TEST(TorchStatusTest, BadAllocIsResourceExhausted) {
  EXPECT_EQ(CatchTorch([] { throw std::bad_alloc(); }).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(TorchStatusTest, PassesStatusesThrough) {
  EXPECT_TRUE(CatchTorch([] {}).ok());
  EXPECT_EQ(CatchTorch([] { return absl::DataLossError("x"); }), absl::DataLossError("x"));
}

}  // namespace
}  // namespace trainerd::engine
