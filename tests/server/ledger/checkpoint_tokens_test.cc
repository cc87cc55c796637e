// SPDX-License-Identifier: Apache-2.0
// state.json is written by the worker (engine/checkpoint/run_state): "tokens" of the outermost
// object. The file may come from anywhere: nothing in it may hurt.
#include "server/ledger/checkpoint_tokens.h"

#include <fstream>

#include "tests/io_faults.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class CheckpointTokensTest : public ::testing::Test {
 protected:
  absl::StatusOr<int64_t> Tokens(const std::string& json) {
    std::ofstream(dir_ / "state.json") << json;
    return CheckpointTokens(dir_.path());
  }
  TempDir dir_;
};

TEST_F(CheckpointTokensTest, ReadsTheOutermostNumber) {
  EXPECT_EQ(*Tokens("{\"format\": 1, \"config\": {\"tokens\": 5}, \"tokens\": 9007199254740993, "
                    "\"monitor\": {\"losses\": [1, 2]}}"),
            9007199254740993);
  EXPECT_EQ(*Tokens("{\"tokens\": 0}"), 0);
}

TEST_F(CheckpointTokensTest, WhatDoesNotSayIsDataLoss) {
  for (const char* json :
       {"", "7", "[{\"tokens\": 1}]", "{}", "{\"tokens\": \"7\"}", "{\"tokens\": -1}",
        "{\"tokens\": 1.5}", "{\"tokens\": 18446744073709551615}", "{\"tokens\": {\"tokens\": 7}}",
        "{\"tokens\": [7]}", "{\"x\": {\"tokens\": 7}}", "{\"tokens\": 7", "12 34\n"}) {
    EXPECT_TRUE(absl::IsDataLoss(Tokens(json).status())) << json << ": " << Tokens(json).status();
  }
}

TEST_F(CheckpointTokensTest, IsBoundedInDepthAndSize) {
  EXPECT_TRUE(absl::IsDataLoss(Tokens("{\"a\": " + std::string(1'000'000, '[')).status()));
  EXPECT_TRUE(
      absl::IsDataLoss(Tokens("{\"tokens\": 1}" + std::string((4 << 20) + 1, ' ')).status()));
}

TEST_F(CheckpointTokensTest, AbsentAndUnreadableAreToldApart) {
  EXPECT_TRUE(absl::IsNotFound(CheckpointTokens(dir_.path()).status()));
  EXPECT_EQ(*Tokens("{\"tokens\": 3}"), 3);
  const IoFault fault(IoFaults::Call::kRead, "state.json", EIO);
  EXPECT_TRUE(absl::IsUnavailable(CheckpointTokens(dir_.path()).status()));
}

}  // namespace
}  // namespace trainerd::server
