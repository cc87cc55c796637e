// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/scheduler.h"

#include "absl/strings/str_join.h"
#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

std::string Plan(const std::vector<QueueEntry>& queue,
                 const std::vector<SchedulerDevice>& devices) {
  std::string text;
  for (const Assignment& a : Schedule(queue, devices))
    text += a.job_id + "@" + absl::StrJoin(a.devices, "+") + " ";
  return text;
}

TEST(SchedulerTest, ServesByPriorityThenByOrderOfSubmission) {
  const std::vector<QueueEntry> queue = {
      {"c", 3, 0, "auto"}, {"a", 1, 0, "auto"}, {"h", 9, 5, "auto"}};
  EXPECT_EQ(Plan(queue, {{"cpu"}}), "h@cpu ");
  EXPECT_EQ(Plan(queue, {{"cpu"}, {"cuda:0"}, {"cuda:1"}}), "h@cuda:0 a@cuda:1 ");
}

TEST(SchedulerTest, ResolvesAutoToCudaIfUsableElseToCpu) {
  const std::vector<QueueEntry> queue = {{"a", 1, 0, "auto"}};
  EXPECT_EQ(Plan(queue, {{"cpu"}, {"cuda:0"}}), "a@cuda:0 ");
  EXPECT_EQ(Plan(queue, {{"cpu"}, {"cuda:0", true, /*busy=*/true}}), "")
      << "waits for the GPU instead of training on the CPU";
  EXPECT_EQ(Plan(queue, {{"cpu"}}), "a@cpu ");
  EXPECT_EQ(Plan(queue, {{"cpu"}, {"cuda:0", /*usable=*/false}}), "a@cpu ");
}

TEST(SchedulerTest, SkipsAJobWhoseDeviceIsBusy) {
  const std::vector<QueueEntry> queue = {{"a", 1, 9, "cuda:0"}, {"b", 2, 0, "cpu"}};
  EXPECT_EQ(Plan(queue, {{"cpu"}, {"cuda:0", true, /*busy=*/true}}), "b@cpu ");
}

TEST(SchedulerTest, StartsNothingWithoutDevices) { EXPECT_EQ(Plan({{"a", 1, 0, "auto"}}, {}), ""); }

}  // namespace
}  // namespace trainerd::server
