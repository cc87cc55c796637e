// SPDX-License-Identifier: Apache-2.0
// Expectations: written by hand from the rules in field_text.h; YAML and --set are tested with
// their readers.
#include "proto/contract/config/field_text.h"

#include <gtest/gtest.h>

#include "trainerd/v1/job.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd {
namespace {

const google::protobuf::FieldDescriptor& Field(const google::protobuf::Message& message,
                                               const char* name) {
  return *message.GetDescriptor()->FindFieldByName(name);
}

TEST(FieldTextTest, ErrorLeavesTheFieldAsItWas) {
  v1::TrainConfig train;
  train.set_seed(7);
  EXPECT_FALSE(SetScalar(Field(train, "seed"), "x", TextStyle::kPlain, &train).ok());
  EXPECT_EQ(train.seed(), 7);
  v1::LimitsConfig limits;
  EXPECT_FALSE(SetScalar(Field(limits, "stop_grace"), "x", TextStyle::kPlain, &limits).ok());
  EXPECT_FALSE(limits.has_stop_grace());
}

TEST(FieldTextTest, WholeNumbersInExponentFormMustBeWhole) {
  v1::TrainConfig train;
  const auto& seed = Field(train, "seed");
  for (const auto& [text, value] :
       std::vector<std::pair<std::string, int64_t>>{{"1e3", 1000},
                                                    {"20.0", 20},
                                                    {"+5", 5},
                                                    {"9223372036854775807", INT64_MAX},
                                                    {"-9223372036854775808", INT64_MIN}}) {
    ASSERT_TRUE(SetScalar(seed, text, TextStyle::kPlain, &train).ok()) << text;
    EXPECT_EQ(train.seed(), value);
  }
  // 1e19 is whole and too large; 1e16 is past what a double counts exactly.
  for (const char* text : {"1e-3", "1.5", "1e19", "1e16", "", " ", "5 6", "1_000", "infinity"}) {
    EXPECT_FALSE(SetScalar(seed, text, TextStyle::kPlain, &train).ok()) << text;
  }
}

TEST(FieldTextTest, NumbersOfBytesTakeUnits) {
  v1::CheckpointConfig config;
  const auto& bytes = Field(config, "max_bytes");
  for (const auto& [text, value] :
       std::vector<std::pair<std::string, int64_t>>{{"1000", 1000},
                                                    {"1e3", 1000},
                                                    {"2kB", 2000},
                                                    {"3MB", 3'000'000},
                                                    {"200GB", 200'000'000'000},
                                                    {"1.5TB", 1'500'000'000'000},
                                                    {"2KiB", 2048},
                                                    {"3 MiB", 3 << 20},
                                                    {"0.5GiB", 1 << 29},
                                                    {"2TiB", int64_t{2} << 40},
                                                    {"0GB", 0}}) {
    ASSERT_TRUE(SetScalar(bytes, text, TextStyle::kPlain, &config).ok()) << text;
    EXPECT_EQ(config.max_bytes(), value) << text;
  }
  for (const char* text : {"GB", "1gb", "1B", "1 kb", "1KB", "x GB", "1GBs", "9999999TiB", "1.5"})
    EXPECT_FALSE(SetScalar(bytes, text, TextStyle::kPlain, &config).ok()) << text;
  // Other numbers take none.
  v1::TrainConfig train;
  EXPECT_FALSE(SetScalar(Field(train, "seed"), "1kB", TextStyle::kPlain, &train).ok());
}

TEST(FieldTextTest, Durations) {
  v1::LimitsConfig limits;
  const auto& grace = Field(limits, "stop_grace");
  for (const auto& [text, canonical] :
       std::vector<std::pair<std::string, std::string>>{{"300s", "300s"},
                                                        {"5m", "300s"},
                                                        {"1h30m", "5400s"},
                                                        {"1.5s", "1.5s"},
                                                        {"250ms", "0.25s"},
                                                        {"0", "0s"},
                                                        {"0s", "0s"},
                                                        {"1ns", "0.000000001s"}}) {
    ASSERT_TRUE(SetScalar(grace, text, TextStyle::kPlain, &limits).ok()) << text;
    EXPECT_EQ(ScalarText(limits, grace), canonical);
  }
  for (const char* text : {"300", "5 m", "1d", "inf", "-inf", "999999999h", "s", ""}) {
    EXPECT_FALSE(SetScalar(grace, text, TextStyle::kPlain, &limits).ok()) << text;
  }
}

TEST(FieldTextTest, TimesEnumsAndBytes) {
  v1::Job job;
  ASSERT_TRUE(
      SetScalar(Field(job, "create_time"), "2026-01-02T03:04:05.25Z", TextStyle::kPlain, &job)
          .ok());
  EXPECT_EQ(job.create_time().seconds(), 1767323045);
  EXPECT_EQ(ScalarText(job, Field(job, "create_time")), "2026-01-02T03:04:05.250Z");
  EXPECT_FALSE(SetScalar(Field(job, "create_time"), "tomorrow", TextStyle::kPlain, &job).ok());
  ASSERT_TRUE(SetScalar(Field(job, "state"), "PAUSED", TextStyle::kPlain, &job).ok());
  EXPECT_EQ(job.state(), v1::Job::PAUSED);
  EXPECT_FALSE(SetScalar(Field(job, "state"), "SLEEPING", TextStyle::kPlain, &job).ok());
  ASSERT_TRUE(SetScalar(Field(job, "config_digest"), "00ff10", TextStyle::kPlain, &job).ok());
  EXPECT_EQ(job.config_digest(), std::string("\x00\xff\x10", 3));
  EXPECT_FALSE(SetScalar(Field(job, "config_digest"), "!", TextStyle::kPlain, &job).ok());
}

TEST(FieldTextTest, DigitsHaveNeitherSignNorSpace) {
  for (const char* text : {"0", "007", "65535"}) EXPECT_TRUE(IsAllDigits(text, 5)) << text;
  for (const char* text : {"", "123456", "+1", "-1", " 1", "1 ", "1a", "\u0661"})
    EXPECT_FALSE(IsAllDigits(text, 5)) << text;
}

TEST(FieldTextTest, ListDefaults) {
  v1::OptimizerConfig optimizer;
  ASSERT_TRUE(SetFromDefault(Field(optimizer, "betas"), "[0.9, 0.999]", &optimizer).ok());
  EXPECT_EQ(optimizer.betas(1), 0.999);
  EXPECT_FALSE(SetFromDefault(Field(optimizer, "betas"), "0.9", &optimizer).ok());
}

}  // namespace
}  // namespace trainerd
