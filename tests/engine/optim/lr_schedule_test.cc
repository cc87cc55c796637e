// SPDX-License-Identifier: Apache-2.0
// Every rate of short runs against transformers 5.23.0's schedules
// (tests/golden/optim/schedules.json).
#include "engine/optim/lr_schedule.h"

#include <set>
#include <string>
#include <vector>

#include "proto/contract/config/enum_words.h"
#include "proto/contract/config/field_text.h"
#include "tests/engine/model/golden_model.h"

namespace trainerd::engine {
namespace {

TEST(LrScheduleTest, EqualsTransformers) {
  const nlohmann::json cases = golden::File("optim/schedules");
  ASSERT_EQ(cases.size(), 48u);
  std::set<std::string> types;
  for (const auto& c : cases) {
    v1::ScheduleConfig schedule;
    for (const auto& [key, value] : c.items()) {
      const auto* field = schedule.GetDescriptor()->FindFieldByName(key);
      if (field == nullptr) continue;
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      ASSERT_TRUE(SetScalar(*field, text, TextStyle::kPlain, &schedule).ok()) << c;
    }
    types.insert(c["type"]);
    // What the defaults of the job file fill in.
    if (c["type"] == "polynomial" && !schedule.has_power()) schedule.set_power(1);
    const auto rates = c["rates"].get<std::vector<double>>();
    for (size_t i = 0; i < rates.size(); ++i) {
      EXPECT_NEAR(LearningRate(schedule, c["peak"], static_cast<int64_t>(i) + 1, c["total_steps"]),
                  rates[i], 1e-18)
          << c << " step " << i + 1;
    }
  }
  EXPECT_EQ(types.size(), EnumTexts(*v1::ScheduleConfig::Type_descriptor()).size());
}

TEST(LrScheduleTest, StaysZeroAfterLastStep) {
  v1::ScheduleConfig schedule;
  schedule.set_type(v1::ScheduleConfig::TYPE_LINEAR);
  EXPECT_EQ(LearningRate(schedule, 1.0, 12, 10), 0.0);
  schedule.set_type(v1::ScheduleConfig::TYPE_COSINE);
  EXPECT_NEAR(LearningRate(schedule, 1.0, 15, 10), 0.0, 1e-16);
  schedule.set_type(v1::ScheduleConfig::TYPE_CONSTANT);
  EXPECT_EQ(LearningRate(schedule, 1.0, 15, 10), 1.0);
}

TEST(LrScheduleTest, StaysAtTheMinimumAfterLastStep) {
  v1::ScheduleConfig schedule;
  schedule.set_min_ratio(0.25);
  schedule.set_power(2);
  schedule.set_decay_steps(3);
  schedule.set_decay_shape(v1::ScheduleConfig::DECAY_SHAPE_LINEAR);
  for (const auto type : {v1::ScheduleConfig::TYPE_COSINE, v1::ScheduleConfig::TYPE_POLYNOMIAL,
                          v1::ScheduleConfig::TYPE_WARMUP_STABLE_DECAY}) {
    schedule.set_type(type);
    EXPECT_NEAR(LearningRate(schedule, 1.0, 11, 10), 0.25, 1e-16) << type;
    EXPECT_NEAR(LearningRate(schedule, 1.0, 15, 10), 0.25, 1e-16) << type;
  }
}

TEST(LrScheduleTest, EachGroupFollowsTheScheduleFromItsOwnPeak) {
  v1::JobConfig config;
  config.mutable_schedule()->set_type(v1::ScheduleConfig::TYPE_LINEAR);
  config.mutable_schedule()->set_warmup_steps(2);
  config.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_MUON);
  config.mutable_optimizer()->set_learning_rate(0.02);
  config.mutable_optimizer()->mutable_adamw()->set_learning_rate(3e-4);
  EXPECT_EQ(LearningRateGroups(config.optimizer()), (std::vector<std::string>{"muon", "adamw"}));
  for (const int64_t step : {1, 2, 3, 7, 10}) {
    EXPECT_EQ(LearningRates(config, step, 10),
              (std::vector<double>{LearningRate(config.schedule(), 0.02, step, 10),
                                   LearningRate(config.schedule(), 3e-4, step, 10)}));
  }
  config.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_ADAMW_8BIT);
  EXPECT_EQ(LearningRateGroups(config.optimizer()), std::vector<std::string>{"adamw_8bit"});
  EXPECT_EQ(LearningRates(config, 3, 10), std::vector<double>{0.02});
}

}  // namespace
}  // namespace trainerd::engine
