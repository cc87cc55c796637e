// SPDX-License-Identifier: Apache-2.0
// Whatever a worker writes, an event stays within its size, and says that it was cut.
#include "server/store/cut_message.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/unknown_field_set.h"
#include "proto/base/utf8.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {
namespace {

std::string Repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(CutMessageTest, LeavesWhatFits) {
  v1::Event event;
  event.mutable_notice()->set_message(std::string(kMaxEventBytes - 100, 'x'));
  const v1::Event before = event;
  CutMessage(kMaxEventBytes, &event);
  EXPECT_EQ(event.SerializeAsString(), before.SerializeAsString());
}

TEST(CutMessageTest, CutsLongTextsBetweenCharactersWithMark) {
  for (const std::string& unit : {std::string("x"), std::string("ä"), std::string("名"),
                                  std::string("🙂"), std::string("xä名🙂")}) {
    v1::Event event;
    event.mutable_sample()->set_step(7);
    event.mutable_sample()->set_prompt("short");
    const std::string text = Repeat(unit, 2'000'000);
    event.mutable_sample()->set_output(text);
    CutMessage(kMaxEventBytes, &event);
    EXPECT_LE(event.ByteSizeLong(), kMaxEventBytes);
    const std::string& cut = event.sample().output();
    EXPECT_EQ(FindInvalidUtf8(cut), std::string::npos);
    EXPECT_TRUE(absl::EndsWith(cut, absl::StrCat("[cut, it had ", text.size(), " bytes]")));
    EXPECT_GT(cut.size(), 50'000u);
    EXPECT_EQ(event.sample().prompt(), "short");
    EXPECT_EQ(event.sample().step(), 7);
  }
}

TEST(CutMessageTest, BoundsEveryShapeOfEvent) {
  const std::string mega(1 << 20, 'm');
  std::vector<v1::Event> events(7);
  for (int i = 0; i < 50'000; ++i) {
    events[0].mutable_data_report()->add_findings()->set_message("a finding among many others");
    events[1].mutable_masking_report()->add_checks()->set_name("check");
  }
  for (int i = 0; i < 40; ++i) events[2].mutable_data_report()->add_findings()->set_message(mega);
  auto* finding = events[3].mutable_data_report()->add_findings();
  for (int i = 0; i < 100'000; ++i) finding->add_first_places(absl::StrCat("/d.jsonl:", i));
  events[4].mutable_attempt_event()->mutable_attempt()->mutable_error()->set_message(mega);
  events[4].mutable_attempt_event()->mutable_attempt()->mutable_error()->set_log_excerpt(mega);
  events[5].mutable_data_report()->set_fingerprint(mega);
  events[6].GetReflection()->MutableUnknownFields(&events[6])->AddLengthDelimited(900, mega);
  for (size_t i = 0; i < events.size(); ++i) {
    events[i].set_job("jobs/a");
    CutMessage(kMaxEventBytes, &events[i]);
    EXPECT_LE(events[i].ByteSizeLong(), kMaxEventBytes) << i;
    EXPECT_EQ(events[i].job(), "jobs/a");
  }
  const auto& places = events[3].data_report().findings(0).first_places();
  EXPECT_EQ(places[0], "/d.jsonl:0");
  EXPECT_TRUE(absl::EndsWith(places[places.size() - 1], " more]")) << places[places.size() - 1];
}

// As the ingester stores it: an event of any size, beside others of the same change.
TEST(CutMessageTest, ChangeTakesLargeEventAmongOthers) {
  TempDir dir;
  EventRecorder recorder;
  auto store = Store::Open({.path = dir / "db", .listener = recorder.Listener()});
  ASSERT_OK(store.status());
  AddJob(**store, "a", dir / "runs/a");
  ASSERT_OK((*store)->Change([&](Transaction& t) -> absl::Status {
    for (const size_t size : {size_t{1000}, size_t{190'000}, size_t{8 << 20}, size_t{1000}}) {
      v1::Event event;
      event.set_job("jobs/a");
      event.mutable_notice()->set_message(std::string(size, 'x'));
      if (absl::Status status = t.Append(std::move(event)); !status.ok()) return status;
    }
    return absl::OkStatus();
  }));
  size_t notices = 0;
  for (const v1::Event& event : recorder.Events()) {
    EXPECT_LE(event.ByteSizeLong(), kMaxEventBytes);
    notices += event.has_notice();
  }
  EXPECT_EQ(notices, 4u);
}

}  // namespace
}  // namespace trainerd::server
