// SPDX-License-Identifier: Apache-2.0
// Expectations: what each macro does with a success, an error and an error with a payload.
#include "proto/base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>

namespace trainerd {
namespace {

absl::StatusOr<std::unique_ptr<int>> Half(int number) {
  if (number % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(number / 2);
}

absl::StatusOr<int> Quarter(int number) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(number));
  ASSIGN_OR_RETURN(std::unique_ptr<int> quarter, Half(*half));
  return *quarter;
}

absl::Status CheckEven(int number, int* evaluations) {
  RETURN_IF_ERROR((++*evaluations, Half(number).status()));
  return absl::NotFoundError("reached the end");
}

TEST(StatusMacrosTest, AssignsValuesAndReturnsErrors) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().message(), "odd");
}

TEST(StatusMacrosTest, EvaluatesExpressionOnce) {
  int evaluations = 0;
  EXPECT_EQ(CheckEven(1, &evaluations).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckEven(2, &evaluations).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(evaluations, 2);
}

TEST(StatusMacrosTest, KeepsCodeAndPayloadWhenAnnotating) {
  absl::Status status = absl::DataLossError("cut off");
  status.SetPayload("url", absl::Cord("details"));
  const absl::Status annotated = Annotate(status, "load shard ", 3);
  EXPECT_EQ(annotated.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(annotated.message(), "load shard 3: cut off");
  EXPECT_EQ(annotated.GetPayload("url"), absl::Cord("details"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

TEST(StatusMacrosTest, PrintsConditionOfFailedCheck) {
  EXPECT_DEATH(TRAINERD_CHECK(1 > 2), "check failed: 1 > 2");
  TRAINERD_CHECK(2 > 1);
}

}  // namespace
}  // namespace trainerd
