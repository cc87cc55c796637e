// SPDX-License-Identifier: Apache-2.0
// Exceptions of LibTorch become statuses that people can act on.
#include "engine/platform/torch_status.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>

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
