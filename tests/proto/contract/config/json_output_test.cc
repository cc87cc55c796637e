// SPDX-License-Identifier: Apache-2.0
// Expectations: the example of an event in the architecture, proto3's JSON mapping.
#include "proto/contract/config/json_output.h"

#include <gtest/gtest.h>

#include <limits>

#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd {
namespace {

TEST(JsonOutputTest, UsesProtoNamesAndLeavesAbsentFieldsOut) {
  v1::Event event;
  event.set_seq(17);
  event.set_job("jobs/4f");
  event.set_attempt(1);
  event.mutable_metrics()->set_step(3);
  event.mutable_metrics()->set_loss(1.93);
  event.mutable_metrics()->set_learning_rate(0);
  event.mutable_metrics()->set_target_tokens(1711);
  EXPECT_EQ(MessageToJsonLine(event),
            R"({"seq":"17","job":"jobs/4f","attempt":1,"metrics":)"
            R"({"step":"3","loss":1.93,"learning_rate":0,"target_tokens":"1711"}})");
}

TEST(JsonOutputTest, NotFiniteNumbersAreTexts) {
  v1::Metrics metrics;
  metrics.set_loss(std::numeric_limits<double>::quiet_NaN());
  metrics.set_grad_norm(std::numeric_limits<double>::infinity());
  EXPECT_EQ(MessageToJsonLine(metrics), R"({"loss":"NaN","grad_norm":"Infinity"})");
}

TEST(JsonOutputTest, LineHasNoLineBreakAndReadsBack) {
  v1::Event event;
  event.mutable_notice()->set_message("two\nlines");
  event.mutable_time()->set_seconds(1700000000);
  EXPECT_EQ(MessageToJsonLine(event).find('\n'), std::string::npos);
  v1::Event back;
  ASSERT_TRUE(JsonToMessage(MessageToJsonLine(event), &back).ok());
  EXPECT_EQ(back.SerializeAsString(), event.SerializeAsString());
}

TEST(JsonOutputTest, PrintsWordsOfAJobFileAndNamesOfOtherEnums) {
  v1::Job job;
  job.set_state(v1::Job::RUNNING);
  job.mutable_config()->mutable_data()->set_packing(v1::DataConfig::PACKING_BFD_SPLIT);
  job.mutable_config()->mutable_data()->mutable_findings()->set_overlap(
      v1::FindingsConfig::REACTION_ERROR);
  job.mutable_config()->mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_ADAMW);
  const std::string json = MessageToJsonLine(job);
  EXPECT_EQ(json, R"({"config":{"data":{"findings":{"overlap":"error"},"packing":"bfd_split"},)"
                  R"("optimizer":{"type":"adamw"}},"state":"RUNNING"})");
  v1::Job back;
  ASSERT_TRUE(JsonToMessage(json, &back).ok());
  EXPECT_EQ(back.SerializeAsString(), job.SerializeAsString());
  EXPECT_FALSE(JsonToMessage(R"({"config":{"data":{"packing":"bfd_splitt"}}})", &back).ok());
}

TEST(JsonOutputTest, SaysWhatDoesNotFit) {
  v1::Event event;
  const absl::Status status = JsonToMessage(R"({"sequence": 1})", &event);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("trainerd.v1.Event"), absl::string_view::npos);
  EXPECT_NE(status.message().find("sequence"), absl::string_view::npos);
  EXPECT_FALSE(JsonToMessage("{", &event).ok());
}

TEST(JsonOutputTest, ImpossibleTimeIsStillOneJsonDocument) {
  v1::Event event;
  event.mutable_time()->set_seconds(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(MessageToJsonLine(event), R"({"unprintable":"trainerd.v1.Event"})");
}

}  // namespace
}  // namespace trainerd
