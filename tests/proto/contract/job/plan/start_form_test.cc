// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/plan/start_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainerd {
namespace {

using ::testing::HasSubstr;

TEST(StartFormTest, PairsLoraWithAdapters) {
  v1::JobConfig whole, lora;
  lora.mutable_lora()->set_r(4);
  EXPECT_EQ(StartFormError(whole, "/c", /*holds_adapter=*/false), "");
  EXPECT_EQ(StartFormError(lora, "/c", /*holds_adapter=*/true), "");
  EXPECT_THAT(StartFormError(whole, "/c", /*holds_adapter=*/true),
              HasSubstr("/c holds a LoRA adapter, not a whole model; add lora"));
  EXPECT_THAT(StartFormError(lora, "/c", /*holds_adapter=*/false),
              HasSubstr("/c holds a whole model, and a job with lora starts from an adapter; set "
                        "model.path"));
}

}  // namespace
}  // namespace trainerd
