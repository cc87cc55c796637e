// SPDX-License-Identifier: Apache-2.0
// Expected documents are written by hand; reading back is compared with the message itself.
#include "proto/contract/job_file/output_json.h"

#include <gtest/gtest.h>

#include <limits>

#include "proto/contract/config/json_output.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd {
namespace {

TEST(OutputJsonTest, WholeNumbersAreNumbersInTheOrderOfTheProtoFile) {
  v1::Event event;
  event.set_seq(17);
  event.set_job("jobs/12");
  event.mutable_metrics()->set_step(3);
  event.mutable_metrics()->set_loss(1.93);
  event.mutable_metrics()->set_learning_rate(2e-5);
  event.mutable_metrics()->set_memory_bytes(int64_t{1} << 40);
  event.mutable_time()->set_seconds(1700000000);
  EXPECT_EQ(OutputJsonLine(event),
            R"({"seq":17,"job":"jobs/12","time":"2023-11-14T22:13:20Z","metrics":{"step":3,)"
            R"("loss":1.93,"learning_rate":2e-05,"memory_bytes":1099511627776,)"
            R"("learning_rates":{}}})");
}

TEST(OutputJsonTest, EmptyListsAndMapsArePresent) {
  EXPECT_EQ(OutputJsonLine(v1::ListJobsResponse()), R"({"jobs":[]})");
  v1::Job job;
  job.mutable_config()->mutable_train();
  const auto document = OutputJson(job);
  EXPECT_EQ(document["conditions"], nlohmann::ordered_json::array());
  EXPECT_EQ(document["config"]["train"]["freeze"], nlohmann::ordered_json::array());
  EXPECT_EQ(document["config"]["labels"], nlohmann::ordered_json::object());
  EXPECT_FALSE(document["config"].contains("data")) << "an absent group stays absent";
}

TEST(OutputJsonTest, ReadsBackEqual) {
  v1::Job job;
  job.set_name("jobs/4f");
  job.set_config_digest(std::string("\x00\xff\x10", 3));
  job.mutable_config()->mutable_train()->set_seed(std::numeric_limits<int64_t>::max());
  job.mutable_config()->mutable_train()->set_max_steps(20);
  job.mutable_config()->mutable_data()->set_packing(v1::DataConfig::PACKING_BFD_SPLIT);
  (*job.mutable_config()->mutable_labels())["n"] = "12";
  job.mutable_config()->mutable_limits()->mutable_stop_grace()->set_seconds(90);
  job.mutable_progress()->set_loss(std::numeric_limits<double>::quiet_NaN());
  job.mutable_progress()->set_tokens(12345678901);
  job.add_conditions()->set_message("\"20\"");
  for (const bool pretty : {false, true}) {
    v1::Job back;
    const std::string json = JsonText(OutputJson(job), pretty);
    const absl::Status status = JsonToMessage(json, &back);
    ASSERT_TRUE(status.ok()) << status << json;
    EXPECT_EQ(back.DebugString(), job.DebugString()) << json;
  }
  EXPECT_EQ(OutputJson(job)["config"]["labels"]["n"], "12") << "a text of digits stays text";
  EXPECT_EQ(OutputJson(job)["progress"]["loss"], "NaN");
}

// A line of -o jsonl is one line for every reader, and moves no cursor.
TEST(OutputJsonTest, EscapesLineSeparatorsAndControlCharacters) {
  v1::Event event;
  event.mutable_notice()->set_message("a\nb\xe2\x80\xa8 c\xc2\x85 d\xe2\x80\xae e\x7f ä");
  const std::string line = OutputJsonLine(event);
  EXPECT_NE(line.find(R"(a\nb\u2028 c\u0085 d\u202e e\u007f ä)"), std::string::npos) << line;
  v1::Event back;
  ASSERT_TRUE(JsonToMessage(line, &back).ok());
  EXPECT_EQ(back.notice().message(), event.notice().message());
}

TEST(OutputJsonTest, ImpossibleTimeIsStillOneDocument) {
  v1::Event event;
  event.mutable_time()->set_seconds(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(OutputJsonLine(event), R"({"unprintable":"trainerd.v1.Event"})");
}

}  // namespace
}  // namespace trainerd
