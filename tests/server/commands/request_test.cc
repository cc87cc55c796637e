// SPDX-License-Identifier: Apache-2.0
// The limits and forms are those of the head of trainer.proto.
#include "server/commands/request.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "google/rpc/error_details.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {
namespace {

template <typename Detail>
Detail DetailOf(const absl::Status& status) {
  Detail detail;
  const auto payload = status.GetPayload("type.googleapis.com/" + detail.GetTypeName());
  if (payload.has_value()) detail.ParseFromString(std::string(*payload));
  return detail;
}

std::string FieldOf(const absl::Status& status) {
  const auto bad = DetailOf<google::rpc::BadRequest>(status);
  return bad.field_violations_size() == 1 ? bad.field_violations(0).field() : "";
}

TEST(RequestTest, InvalidNameHasReasonFieldAndNoLongText) {
  for (const std::string& name :
       {std::string(), std::string("jobs/a/checkpoints/x"), std::string("jobs/-"),
        std::string(3'000'000, 'a'), std::string("a\n\x1b[2J"), std::string("\xe2\x80\xae")}) {
    const absl::Status status = RequestedJob("parent", name).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "INVALID_NAME");
    EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).domain(), "trainerd");
    EXPECT_EQ(FieldOf(status), "parent");
    EXPECT_LT(status.message().size(), 250u);
    EXPECT_FALSE(absl::StrContains(status.message(), "\n")) << status;
    EXPECT_FALSE(absl::StrContains(status.message(), "\x1b")) << status;
    EXPECT_FALSE(absl::StrContains(status.message(), "\xe2\x80\xae")) << status;
  }
  EXPECT_EQ(RequestedJob("name", "jobs/a").value(), "a");
  EXPECT_EQ(RequestedJobOrCheckpoint("base", "jobs/a/checkpoints/x")->checkpoint_id, "x");
  EXPECT_EQ(
      DetailOf<google::rpc::ErrorInfo>(RequestedJobOrCheckpoint("base", "a/checkpoints/x").status())
          .reason(),
      "INVALID_NAME");
}

TEST(RequestTest, BoundsTexts) {
  v1::PauseRequest request;
  request.set_name(std::string(5000, 'a'));  // names have a rule of their own
  request.set_request_id(std::string(128, 'r'));
  request.set_etag(std::string(1024, 'e'));
  request.set_reason(std::string(1024, 'x'));
  EXPECT_TRUE(CheckRequest(request).ok()) << CheckRequest(request);
  v1::PauseRequest longer = request;
  longer.set_reason(std::string(1025, 'x'));
  EXPECT_EQ(FieldOf(CheckRequest(longer)), "reason");
  longer = request;
  longer.set_request_id(std::string(129, 'r'));
  EXPECT_EQ(FieldOf(CheckRequest(longer)), "request_id");
  longer = request;
  longer.set_etag(std::string(4'000'000, 'e'));
  EXPECT_EQ(FieldOf(CheckRequest(longer)), "etag");
  EXPECT_LT(CheckRequest(longer).message().size(), 200u);
}

TEST(RequestTest, BoundsListsAndMaps) {
  v1::StreamStatusRequest watch;
  for (int i = 0; i < 1000; ++i) watch.add_event_types("metrics");
  EXPECT_TRUE(CheckRequest(watch).ok());
  watch.add_event_types("metrics");
  EXPECT_EQ(FieldOf(CheckRequest(watch)), "event_types");
  v1::ListJobsRequest list;
  for (int i = 0; i < 64; ++i) (*list.mutable_labels())[std::to_string(i)] = "x";
  EXPECT_TRUE(CheckRequest(list).ok());
  (*list.mutable_labels())["one more"] = "x";
  EXPECT_EQ(FieldOf(CheckRequest(list)), "labels");
  list.Clear();
  (*list.mutable_labels())["k"] = std::string(2000, 'x');
  EXPECT_FALSE(CheckRequest(list).ok());
  list.Clear();
  for (int i = 0; i < 1001; ++i) list.add_states(v1::Job::QUEUED);
  EXPECT_EQ(FieldOf(CheckRequest(list)), "states");
  list.Clear();
  list.set_page_token(std::string(1025, '1'));
  EXPECT_EQ(FieldOf(CheckRequest(list)), "page_token");
}

TEST(RequestTest, RefusesControlCharactersInReason) {
  for (const char* bad : {"a\nb", "\x1b[31m", "\x7f", "\xc2\x85", "\xc2\x9b", "\xe2\x80\xa8",
                          "\xe2\x80\xa9", "\xe2\x80\xae", "\xe2\x81\xa7", "\xd8\x9c"}) {
    v1::StopRequest request;
    request.set_reason(bad);
    EXPECT_EQ(FieldOf(CheckRequest(request)), "reason") << bad;
  }
  v1::StopRequest request;
  request.set_reason("Ünicode — “quoted” 名前 🙂");
  EXPECT_TRUE(CheckRequest(request).ok());
}

}  // namespace
}  // namespace trainerd::server
