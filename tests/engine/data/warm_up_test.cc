// SPDX-License-Identifier: Apache-2.0
#include "engine/data/warm_up.h"

#include <gmock/gmock.h>

#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

class WarmUpTest : public ::testing::Test {
 protected:
  // 4 records per step, 1 epoch.
  bool IsRefused(int64_t records, int64_t records_read) const {
    v1::DataReport report;
    report.set_examples(records);
    report.mutable_tokens()->set_count(records_read);
    return !CheckWarmUpQuickly(config_, report).ok();
  }
  v1::JobConfig config_ = BaseConfig("model", "train.jsonl");
};

TEST_F(WarmUpTest, MustEndBeforeTheJob) {
  config_.mutable_schedule()->set_warmup_steps(10);
  EXPECT_TRUE(CheckWarmUp(config_, 11).ok());
  const absl::Status status = CheckWarmUp(config_, 10);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("schedule.warmup_steps: 10 steps of warm-up do not end before the 10 steps"
                        " that train.epochs 1 gives; lower it"));
  // The rules of the configuration check jobs with max_steps.
  config_.mutable_train()->set_max_steps(5);
  EXPECT_TRUE(CheckWarmUp(config_, 5).ok());
  config_.mutable_train()->clear_max_steps();
  config_.mutable_schedule()->set_warmup_steps(0);
  EXPECT_TRUE(CheckWarmUp(config_, 0).ok());
}

TEST_F(WarmUpTest, FitsBesideTheDecay) {
  config_.mutable_schedule()->set_warmup_steps(3);
  config_.mutable_schedule()->set_decay_steps(7);
  EXPECT_TRUE(CheckWarmUp(config_, 10).ok());
  EXPECT_THAT(std::string(CheckWarmUp(config_, 9).message()),
              HasSubstr("schedule.decay_steps: 7 steps of decay and 3 of warm-up do not fit into "
                        "the 9 steps that train.epochs 1 gives; lower one of them"));
  config_.mutable_schedule()->set_warmup_steps(0);
  EXPECT_TRUE(CheckWarmUp(config_, 7).ok());
  EXPECT_FALSE(CheckWarmUp(config_, 6).ok());
}

TEST_F(WarmUpTest, QuickCheckRefusesOnlyWhatIsCertain) {
  config_.mutable_schedule()->set_warmup_steps(3);
  EXPECT_TRUE(IsRefused(12, 12));
  EXPECT_FALSE(IsRefused(13, 13)) << "4 steps";
  EXPECT_FALSE(IsRefused(12, 11)) << "more records follow";
  config_.mutable_train()->set_epochs(1.5);
  EXPECT_FALSE(IsRefused(12, 12)) << "5 steps";
  config_.mutable_train()->set_epochs(1);
  config_.mutable_data()->set_packing(v1::DataConfig::PACKING_BFD_SPLIT);
  EXPECT_FALSE(IsRefused(12, 12)) << "a long record may be several sequences";
  config_.mutable_data()->set_packing(v1::DataConfig::PACKING_NONE);
  config_.mutable_data()->mutable_train(0)->set_weight(2);
  EXPECT_FALSE(IsRefused(12, 12)) << "each record counts twice";
}

}  // namespace
}  // namespace trainerd::engine
