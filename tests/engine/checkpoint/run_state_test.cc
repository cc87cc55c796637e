// SPDX-License-Identifier: Apache-2.0
// state.json: every field comes back to the bit; what is missing or wrong is named.
#include "engine/checkpoint/run_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

RunState Example() {
  RunState state{.step = 500,
                 .total_steps = 1200,
                 .epoch = 1.0 / 3,
                 .tokens = 123456789012,
                 .target_tokens = 99};
  state.next = {.epoch = 1, .first_row = 17};
  state.evaluated_step = 400;
  state.sampled_step = -1;
  state.config.mutable_config()->mutable_train()->set_seed(42);
  state.config.mutable_config()->mutable_optimizer()->set_learning_rate(0.1 + 0.2);
  state.config.mutable_config()->set_name("räksmörgås");
  state.config.add_given("train.seed");
  state.config.set_config_digest(std::string("\x00\x01\xfe", 3));
  state.data_fingerprint = std::string("\xff\x00\x10", 3);
  state.environment = {.engine_version = "0.1.0",
                       .build = "ab",
                       .torch_version = "2.11.0",
                       .cpu = "CPU",
                       .device = "cuda:0",
                       .threads = 2,
                       .gpu = {.model = "GPU", .driver = "580.95.05", .libraries = "CUDA 13.0"}};
  state.monitor = {.losses = {1.5, 0.1 + 0.7},
                   .active_alerts = {"plateau"},
                   .spike_reference = 2.25,
                   .start_losses = {3.5, 0.1 + 0.2},
                   .best_validation = BestValidation{.loss = 0.1 + 0.7, .step = 300},
                   .plateau = {.block_sum = 0.1 + 0.2,
                               .block_count = 77,
                               .block_before = 0.1 + 0.3,
                               .level = 1.0 / 3,
                               .deviation = 0.7 / 3},
                   .cleared_steps = {{"plateau", 420}, {"loss_spike", 12}}};
  return state;
}

TEST(RunStateTest, RestoresEachField) {
  const RunState state = Example();
  const auto read = ParseRunState(RunStateToJson(state));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->step, state.step);
  EXPECT_EQ(read->total_steps, state.total_steps);
  EXPECT_EQ(read->epoch, state.epoch);
  EXPECT_EQ(read->tokens, state.tokens);
  EXPECT_EQ(read->target_tokens, state.target_tokens);
  EXPECT_EQ(read->next.epoch, 1);
  EXPECT_EQ(read->next.first_row, 17);
  EXPECT_EQ(read->evaluated_step, 400);
  EXPECT_EQ(read->sampled_step, -1);
  EXPECT_EQ(read->config.SerializeAsString(), state.config.SerializeAsString());
  EXPECT_EQ(read->data_fingerprint, state.data_fingerprint);
  EXPECT_EQ(EnvironmentDifferences(read->environment, state.environment), "");
  EXPECT_EQ(read->environment.gpu.model, "GPU");
  EXPECT_EQ(read->environment.gpu.driver, "580.95.05");
  EXPECT_EQ(read->environment.gpu.libraries, "CUDA 13.0");
  EXPECT_EQ(read->monitor.losses, state.monitor.losses);
  EXPECT_EQ(read->monitor.active_alerts, state.monitor.active_alerts);
  EXPECT_EQ(read->monitor.spike_reference, 2.25);
  EXPECT_EQ(read->monitor.start_losses, state.monitor.start_losses);
  ASSERT_TRUE(read->monitor.best_validation.has_value());
  EXPECT_EQ(read->monitor.best_validation->loss, 0.1 + 0.7);
  EXPECT_EQ(read->monitor.best_validation->step, 300);
  EXPECT_EQ(read->monitor.plateau.block_sum, 0.1 + 0.2);
  EXPECT_EQ(read->monitor.plateau.block_count, 77);
  EXPECT_EQ(read->monitor.plateau.block_before, 0.1 + 0.3);
  EXPECT_EQ(read->monitor.plateau.level, 1.0 / 3);
  EXPECT_EQ(read->monitor.plateau.deviation, 0.7 / 3);
  EXPECT_EQ(read->monitor.cleared_steps, state.monitor.cleared_steps);
}

TEST(RunStateTest, HasModelFingerprintOnlyWithLora) {
  RunState state = Example();
  EXPECT_EQ(RunStateToJson(state).find("model_fingerprint"), std::string::npos);
  EXPECT_EQ(ParseRunState(RunStateToJson(state))->model_fingerprint, "");
  state.model_fingerprint = std::string("\x0f\x00", 2);
  EXPECT_EQ(ParseRunState(RunStateToJson(state))->model_fingerprint, state.model_fingerprint);
}

TEST(RunStateTest, NamesMissingOrWrongField) {
  const auto whole = nlohmann::ordered_json::parse(RunStateToJson(Example()));
  for (const auto& [key, value] : whole.items()) {
    auto without = whole;
    without.erase(key);
    const auto missing = ParseRunState(without.dump());
    ASSERT_FALSE(missing.ok()) << key;
    EXPECT_THAT(std::string(missing.status().message()), HasSubstr(key));
    auto wrong = whole;
    wrong[key] = true;
    EXPECT_FALSE(ParseRunState(wrong.dump()).ok()) << key;
  }
  EXPECT_TRUE(absl::IsDataLoss(ParseRunState("{\"format\": 1").status()));
}

// Written by trainerd before the words of a job file became enums, and with the sections that only
// humans read.
TEST(RunStateTest, ReadsStateOfAnOlderBuild) {
  auto json = nlohmann::ordered_json::parse(RunStateToJson(Example()));
  json["schedule"] = {{"type", "linear"}, {"next_step", 501}};
  json["rng"] = {{"scheme", "counter"}, {"seed", 42}, {"counter", 500}};
  json["environment"].erase("gpu");
  json["config"]["data"] = {{"packing", "bfd_split"}, {"train_on", "last_assistant"}};
  json["config"]["schedule"] = {{"type", "linear"}};
  const auto read = ParseRunState(json.dump());
  ASSERT_TRUE(read.ok()) << read.status();
  const v1::JobConfig& config = read->config.config();
  EXPECT_EQ(config.data().packing(), v1::DataConfig::PACKING_BFD_SPLIT);
  EXPECT_EQ(config.data().train_on(), v1::DataConfig::TRAIN_ON_LAST_ASSISTANT);
  EXPECT_EQ(config.schedule().type(), v1::ScheduleConfig::TYPE_LINEAR);
  // Values are compared, not their order.
  EXPECT_EQ(nlohmann::json::parse(RunStateToJson(*read))["config"],
            nlohmann::json::parse(json["config"].dump()));
}

TEST(RunStateTest, RefusesNewerFormatWithAdvice) {
  auto json = nlohmann::ordered_json::parse(RunStateToJson(Example()));
  json["format"] = 2;
  const auto read = ParseRunState(json.dump());
  EXPECT_TRUE(absl::IsFailedPrecondition(read.status()));
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("format 2"));
}

}  // namespace
}  // namespace trainerd::engine
