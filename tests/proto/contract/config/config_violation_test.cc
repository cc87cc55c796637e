// SPDX-License-Identifier: Apache-2.0
// Expectations: the form `file:line: path: message`, and what gRPC can carry.
#include "proto/contract/config/config_violation.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace trainerd {
namespace {

google::rpc::BadRequest DetailsOf(const absl::Status& status) {
  google::rpc::BadRequest details;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  EXPECT_TRUE(payload.has_value());
  if (payload.has_value()) {
    EXPECT_TRUE(details.ParseFromString(std::string(*payload)));
  }
  return details;
}

TEST(ConfigViolationTest, StatusListsEveryFaultAsTextAndAsData) {
  const std::vector<ConfigViolation> violations = {{"train.seed", "\"x\" is not a whole number", 7},
                                                   {"model.path", "model.path is required", 0}};
  const absl::Status status = ViolationsToStatus(violations, "job.yaml");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      status.message(),
      "job.yaml:7: train.seed: \"x\" is not a whole number\njob.yaml: model.path is required");
  const google::rpc::BadRequest details = DetailsOf(status);
  ASSERT_EQ(details.field_violations_size(), 2);
  EXPECT_EQ(details.field_violations(0).field(), "train.seed");
  EXPECT_EQ(details.field_violations(0).description(), "\"x\" is not a whole number");
  EXPECT_EQ(details.field_violations(1).field(), "model.path");
}

TEST(ConfigViolationTest, WithoutAFileOnlyTheLineStands) {
  EXPECT_EQ(ViolationsText({{"a", "m", 3}, {"b", "n", 0}, {"", "top", 0}}),
            "line 3: a: m\nb: n\ntop");
}

TEST(ConfigViolationTest, NoFaultIsOk) { EXPECT_TRUE(ViolationsToStatus({}).ok()); }

TEST(ConfigViolationTest, ManyFaultsFitIntoAStatusAndAreCounted) {
  std::vector<ConfigViolation> violations;
  for (int i = 0; i < 500; ++i) violations.push_back({absl::StrCat("field", i), "is wrong", i});
  const absl::Status status = ViolationsToStatus(violations, "job.yaml");
  const google::rpc::BadRequest details = DetailsOf(status);
  EXPECT_GT(details.field_violations_size(), 20);
  EXPECT_TRUE(absl::StrContains(
      status.message(), absl::StrCat("and ", 500 - details.field_violations_size(), " more")))
      << status;
  // gRPC's limit of 8 KiB holds the message and the details in base64.
  EXPECT_LT(status.message().size() + details.ByteSizeLong() * 4 / 3, 7000u);
}

TEST(ConfigViolationTest, LinesComeFromThePathOrItsNearestSection) {
  const std::map<std::string, int> lines = {
      {"model", 2}, {"data", 3}, {"data.train", 4}, {"data.train[0]", 5}};
  std::vector<ConfigViolation> violations = {{"model.path", "m"},
                                             {"data.train[0].weight", "m"},
                                             {"data.train[1].path", "m"},
                                             {"train.seed", "m"},
                                             {"data", "m", 99}};
  AttachLines(lines, &violations);
  EXPECT_EQ(violations[0].line, 2);
  EXPECT_EQ(violations[1].line, 5);
  EXPECT_EQ(violations[2].line, 4);
  EXPECT_EQ(violations[3].line, 0);
  EXPECT_EQ(violations[4].line, 99);
}

TEST(ConfigViolationTest, QuotedTextIsShortAndPrintable) {
  EXPECT_EQ(Quoted("a\nb\x01"), "\"a\\nb\\x01\"");
  const std::string quoted = Quoted(std::string(79, 'x') + "ä" + std::string(100, 'y'));
  // The two bytes of ä are not torn apart.
  EXPECT_EQ(quoted, "\"" + std::string(79, 'x') + "…\"");
}

}  // namespace
}  // namespace trainerd
