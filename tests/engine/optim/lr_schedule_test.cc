// SPDX-License-Identifier: Apache-2.0
// Every rate of short runs against transformers 5.23.0's schedules
// (tests/golden/model/schedules.json).
#include "engine/optim/lr_schedule.h"

#include "proto/contract/config/field_text.h"
#include "tests/engine/model/golden_model.h"

namespace trainerd::engine {
namespace {

TEST(LrScheduleTest, EqualsTransformers) {
  const nlohmann::json cases = golden::Read("schedules");
  ASSERT_EQ(cases.size(), 15u);
  for (const auto& c : cases) {
    v1::ScheduleConfig schedule;
    const auto* type = schedule.GetDescriptor()->FindFieldByName("type");
    ASSERT_TRUE(SetScalar(*type, c["type"], TextStyle::kPlain, &schedule).ok()) << c;
    schedule.set_warmup_steps(c["warmup_steps"]);
    const auto rates = c["rates"].get<std::vector<double>>();
    for (size_t i = 0; i < rates.size(); ++i) {
      EXPECT_NEAR(LearningRate(schedule, c["peak"], static_cast<int64_t>(i) + 1, c["total_steps"]),
                  rates[i], 1e-18)
          << c << " step " << i + 1;
    }
  }
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

}  // namespace
}  // namespace trainerd::engine
