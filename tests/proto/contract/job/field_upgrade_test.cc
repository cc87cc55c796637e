// SPDX-License-Identifier: Apache-2.0
// Old messages are made by hand: a text under the number that the field had. Messages that an old
// build wrote: tests/server/store/old_database_test.cc.
#include "proto/contract/job/field_upgrade.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/protobuf/unknown_field_set.h"
#include "proto/contract/config/enum_words.h"
#include "trainerd/internal/worker.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void SetOld(google::protobuf::Message* message, int number, const std::string& text) {
  message->GetReflection()->MutableUnknownFields(message)->AddLengthDelimited(number, text);
}

int UnknownCount(const google::protobuf::Message& message) {
  return message.GetReflection()->GetUnknownFields(message).field_count();
}

TEST(FieldUpgradeTest, MovesTextsToTheirNewFields) {
  v1::JobConfig config;
  SetOld(config.mutable_data(), 7, "bfd_split");
  SetOld(config.mutable_data(), 12, "template");
  SetOld(config.mutable_data()->mutable_findings(), 9, "ignore");
  SetOld(config.mutable_train(), 1, "fp32");
  SetOld(config.mutable_init_from(), 2, "weights");
  config.mutable_data()->set_max_length(77);
  ASSERT_TRUE(UpgradeFields(&config).ok());
  EXPECT_EQ(config.data().packing(), v1::DataConfig::PACKING_BFD_SPLIT);
  EXPECT_EQ(config.data().train_on(), v1::DataConfig::TRAIN_ON_TEMPLATE);
  EXPECT_EQ(config.data().findings().overlap(), v1::FindingsConfig::REACTION_IGNORE);
  EXPECT_EQ(config.train().precision(), v1::TrainConfig::PRECISION_FP32);
  EXPECT_EQ(config.init_from().state(), v1::InitFromConfig::STATE_WEIGHTS);
  EXPECT_EQ(config.data().max_length(), 77);
  EXPECT_EQ(UnknownCount(config.data()), 0);
  EXPECT_EQ(UnknownCount(config.data().findings()), 0);
  const std::string once = config.SerializeAsString();
  ASSERT_TRUE(UpgradeFields(&config).ok());
  EXPECT_EQ(config.SerializeAsString(), once);
}

TEST(FieldUpgradeTest, MovesDeviceToTheList) {
  v1::ListJobsResponse jobs;
  SetOld(jobs.add_jobs(), 15, "cuda:1");
  v1::Event event;
  SetOld(event.mutable_attempt_event()->mutable_attempt(), 3, "cpu");
  internal::AttemptSpec spec;
  SetOld(&spec, 5, "cuda:0");
  SetOld(spec.mutable_config()->mutable_config()->mutable_schedule(), 1, "linear");
  for (google::protobuf::Message* message : {static_cast<google::protobuf::Message*>(&jobs),
                                             static_cast<google::protobuf::Message*>(&event),
                                             static_cast<google::protobuf::Message*>(&spec)})
    ASSERT_TRUE(UpgradeFields(message).ok());
  EXPECT_THAT(jobs.jobs(0).devices(), ElementsAre("cuda:1"));
  EXPECT_THAT(event.attempt_event().attempt().devices(), ElementsAre("cpu"));
  EXPECT_THAT(spec.devices(), ElementsAre("cuda:0"));
  EXPECT_EQ(spec.config().config().schedule().type(), v1::ScheduleConfig::TYPE_LINEAR);
}

TEST(FieldUpgradeTest, RefusesTextWithoutNewValue) {
  v1::JobConfig config;
  SetOld(config.mutable_data(), 7, "greedy");
  const absl::Status status = UpgradeFields(&config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("trainerd.v1.DataConfig.packing"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"greedy\" is not one of none, bfd"));
}

TEST(FieldUpgradeTest, KeepsFieldsOfANewerBuild) {
  v1::JobConfig config;
  SetOld(config.mutable_data(), 4000, "later");
  ASSERT_TRUE(UpgradeFields(&config).ok());
  EXPECT_EQ(UnknownCount(config.data()), 1);
}

// No reserved number of these messages may be forgotten: an old value under it would be read as its
// default.
TEST(FieldUpgradeTest, MovesEveryReservedNumberOfAJob) {
  for (const google::protobuf::Descriptor* type :
       {v1::DataConfig::descriptor(), v1::FindingsConfig::descriptor(),
        v1::TrainConfig::descriptor(), v1::OptimizerConfig::descriptor(),
        v1::ScheduleConfig::descriptor(), v1::InitFromConfig::descriptor(), v1::Job::descriptor(),
        v1::Attempt::descriptor(), internal::AttemptSpec::descriptor()}) {
    EXPECT_GT(type->reserved_range_count(), 0);
    for (int i = 0; i < type->reserved_range_count(); ++i) {
      for (int number = type->reserved_range(i)->start; number < type->reserved_range(i)->end;
           ++number) {
        std::unique_ptr<google::protobuf::Message> message(
            google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
        SetOld(message.get(), number, "no such word");
        const bool is_list = type->FindFieldByName("devices") != nullptr;
        EXPECT_EQ(UpgradeFields(message.get()).ok(), is_list) << type->full_name() << " " << number;
        if (is_list) {
          EXPECT_EQ(UnknownCount(*message), 0) << type->full_name() << " " << number;
        }
      }
    }
  }
}

}  // namespace
}  // namespace trainerd
