// SPDX-License-Identifier: Apache-2.0
// Expectations: the example of an event in the architecture, proto3's JSON mapping.
#include "proto/base/json_output.h"

#include <gtest/gtest.h>

#include <limits>

#include "trainerd/v1/event.pb.h"

namespace trainerd {
namespace {

TEST(JsonOutputTest, UsesProtoNamesAndOmitsAbsentFields) {
  v1::Event event;
  event.set_seq(17);
  event.set_job("jobs/4f");
  event.set_attempt(1);
  event.mutable_metrics()->set_step(3);
  event.mutable_metrics()->set_loss(1.93);
  event.mutable_metrics()->set_learning_rate(0);
  event.mutable_metrics()->set_target_tokens(1711);
  EXPECT_EQ(
      MessageToJsonLine(event),
      R"({"seq":"17","job":"jobs/4f","attempt":1,"metrics":{"step":"3","loss":1.93,"learning_rate":0,"target_tokens":"1711"}})");
}

TEST(JsonOutputTest, PrintsNonFiniteNumbersAsStrings) {
  v1::Metrics metrics;
  metrics.set_loss(std::numeric_limits<double>::quiet_NaN());
  metrics.set_grad_norm(std::numeric_limits<double>::infinity());
  EXPECT_EQ(MessageToJsonLine(metrics), R"({"loss":"NaN","grad_norm":"Infinity"})");
}

TEST(JsonOutputTest, PrintsOneLineAndReadsPrettyFormBack) {
  v1::Event event;
  event.mutable_notice()->set_message("two\nlines");
  event.mutable_time()->set_seconds(1700000000);
  EXPECT_EQ(MessageToJsonLine(event).find('\n'), std::string::npos);
  for (const std::string& json : {MessageToJsonLine(event), MessageToJsonPretty(event)}) {
    v1::Event back;
    ASSERT_TRUE(JsonToMessage(json, &back).ok());
    EXPECT_EQ(back.SerializeAsString(), event.SerializeAsString());
  }
}

TEST(JsonOutputTest, ReportsFieldThatDoesNotFit) {
  v1::Event event;
  const absl::Status status = JsonToMessage(R"({"sequence": 1})", &event);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("trainerd.v1.Event"), absl::string_view::npos);
  EXPECT_NE(status.message().find("sequence"), absl::string_view::npos);
  EXPECT_FALSE(JsonToMessage("{", &event).ok());
}

TEST(JsonOutputTest, PrintsInvalidTimeAsJsonDocument) {
  v1::Event event;
  event.mutable_time()->set_seconds(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(MessageToJsonLine(event), R"({"unprintable":"trainerd.v1.Event"})");
}

}  // namespace
}  // namespace trainerd
