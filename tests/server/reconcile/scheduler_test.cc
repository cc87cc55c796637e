// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/scheduler.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

std::string Plan(const std::vector<QueueEntry>& queue,
                 const std::vector<SchedulerDevice>& devices) {
  std::string text;
  for (const Assignment& a : Schedule({.queue = queue, .devices = devices}).assignments)
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

// The queue "a b c" with these priorities, and running jobs that hold cpu devices.
QueueEntry Waiting(const std::string& id, int64_t number, int priority,
                   const std::string& owner = "alice") {
  return {.id = id, .number = number, .priority = priority, .device = "auto", .owner = owner};
}
RunningJob OnDevice(const std::string& id, const std::string& device, int priority,
                    const std::string& owner = "alice") {
  return {.id = id, .owner = owner, .devices = {device}, .priority = priority, .preemptible = true};
}
std::vector<SchedulerDevice> BusyGpus(int count) {
  std::vector<SchedulerDevice> devices = {{"cpu"}};
  for (int i = 0; i < count; ++i) devices.push_back({absl::StrCat("cuda:", i), true, true});
  return devices;
}
std::string Victims(const SchedulePlan& plan) {
  return absl::StrJoin(plan.preemptions, " ", [](std::string* out, const Preemption& p) {
    absl::StrAppend(out, p.victim, ">", p.for_job);
  });
}
std::string OverQuota(const SchedulePlan& plan) {
  return absl::StrJoin(plan.over_quota, " ",
                       [](std::string* out, const QueueEntry& e) { out->append(e.id); });
}

TEST(SchedulerTest, StartsNoMoreThanTheOwnersQuota) {
  ScheduleInput input{.queue = {Waiting("a", 1, 0), Waiting("b", 2, 0), Waiting("c", 3, 0, "bob")},
                      .devices = {{"cuda:0"}, {"cuda:1"}, {"cuda:2"}},
                      .quotas = {.max_running_jobs_per_owner = 1}};
  const SchedulePlan plan = Schedule(input);
  ASSERT_EQ(plan.assignments.size(), 2u);
  EXPECT_EQ(plan.assignments[0].job_id, "a");
  EXPECT_EQ(plan.assignments[1].job_id, "c") << "another owner's job passes";
  EXPECT_EQ(OverQuota(plan), "b");
  EXPECT_TRUE(plan.reached.Keeps("alice"));
  EXPECT_TRUE(plan.reached.Keeps("bob"));
  EXPECT_FALSE(plan.reached.Keeps("carol"));
}

TEST(SchedulerTest, StartsNoMoreThanTheTotalQuota) {
  ScheduleInput input{.queue = {Waiting("a", 1, 0), Waiting("b", 2, 0, "bob")},
                      .devices = {{"cuda:0", true, true}, {"cuda:1"}, {"cuda:2"}},
                      .running = {OnDevice("r", "cuda:0", 0, "carol")},
                      .quotas = {.max_running_jobs = 2}};
  const SchedulePlan plan = Schedule(input);
  ASSERT_EQ(plan.assignments.size(), 1u);
  EXPECT_EQ(plan.assignments[0].job_id, "a");
  EXPECT_EQ(OverQuota(plan), "b");
  EXPECT_TRUE(plan.reached.Keeps("anybody"));
}

TEST(SchedulerTest, PreemptsOnlyWhenAllowed) {
  ScheduleInput input{.queue = {Waiting("a", 9, 5)},
                      .devices = BusyGpus(1),
                      .running = {OnDevice("r", "cuda:0", 0)}};
  EXPECT_EQ(Victims(Schedule(input)), "") << "off by default";
  input.rules.preemption = true;
  EXPECT_EQ(Victims(Schedule(input)), "r>a");
  input.running[0].preemptible = false;
  EXPECT_EQ(Victims(Schedule(input)), "") << "younger than preemption_min_time";
  input.running[0].preemptible = true;
  input.running[0].priority = 5;
  EXPECT_EQ(Victims(Schedule(input)), "") << "an equal priority never does";
  input.running[0].priority = 0;
  input.devices[1].busy = false;
  EXPECT_EQ(Victims(Schedule(input)), "") << "a device is free";
  input.devices[1] = {"cuda:0", /*usable=*/false, true};
  EXPECT_EQ(Victims(Schedule(input)), "") << "it could not use the device";
}

TEST(SchedulerTest, VictimHasTheLowestPriorityThenTheLeastUnsavedTime) {
  ScheduleInput input{.queue = {Waiting("a", 9, 5)},
                      .devices = BusyGpus(3),
                      .running = {OnDevice("x", "cuda:0", 1), OnDevice("y", "cuda:1", 0),
                                  OnDevice("z", "cuda:2", 0)},
                      .rules = {.preemption = true}};
  input.running[0].unsaved = absl::ZeroDuration();
  input.running[1].unsaved = absl::Minutes(9);
  input.running[2].unsaved = absl::Minutes(8);
  EXPECT_EQ(Victims(Schedule(input)), "z>a");
  input.running[2].unsaved = absl::Minutes(10);
  EXPECT_EQ(Victims(Schedule(input)), "y>a");
  input.queue.push_back(Waiting("b", 10, 4));
  input.queue.push_back(Waiting("c", 11, 1));
  EXPECT_EQ(Victims(Schedule(input)), "y>a z>b") << "c is not above x";
}

TEST(SchedulerTest, WaitsForADeviceThatIsAlreadyBeingFreed) {
  ScheduleInput input{.queue = {Waiting("a", 9, 5)},
                      .devices = BusyGpus(2),
                      .running = {OnDevice("x", "cuda:0", 9), OnDevice("y", "cuda:1", 0)},
                      .rules = {.preemption = true}};
  input.running[0].ending = true;
  EXPECT_EQ(Victims(Schedule(input)), "");
  input.queue.push_back(Waiting("b", 10, 3));
  EXPECT_EQ(Victims(Schedule(input)), "y>b") << "the first one gets the device of x";
}

TEST(SchedulerTest, FreesNoDeviceForWhichAnotherJobComesFirst) {
  // The aged job is first in the queue, and its own priority preempts nothing.
  ScheduleInput input{.queue = {Waiting("old", 1, 0), Waiting("a", 9, 5)},
                      .devices = BusyGpus(1),
                      .running = {OnDevice("r", "cuda:0", 0)},
                      .rules = {.priority_aging = absl::Hours(1), .preemption = true},
                      .now = absl::FromUnixSeconds(1'800'000'000)};
  input.queue[0].queued_since = input.now - absl::Hours(10);
  input.queue[1].queued_since = input.now;
  EXPECT_EQ(Victims(Schedule(input)), "");
  input.queue[0].queued_since = input.now - absl::Hours(2);
  EXPECT_EQ(Victims(Schedule(input)), "r>a");
  // A job for another device is not in the way.
  input.queue[0].queued_since = input.now - absl::Hours(10);
  input.queue[0].device = "cpu";
  input.devices[0].busy = true;
  EXPECT_EQ(Victims(Schedule(input)), "r>a");
}

TEST(SchedulerTest, PreemptsWithinAQuotaThatTheVictimFrees) {
  ScheduleInput input{.queue = {Waiting("a", 9, 5)},
                      .devices = BusyGpus(2),
                      .running = {OnDevice("x", "cuda:0", 0, "bob"), OnDevice("y", "cuda:1", 1)},
                      .quotas = {.max_running_jobs_per_owner = 1},
                      .rules = {.preemption = true}};
  EXPECT_EQ(Victims(Schedule(input)), "y>a") << "alice has one already; that of bob does not help";
  input.quotas = {.max_running_jobs = 2};
  EXPECT_EQ(Victims(Schedule(input)), "x>a");
  input.quotas = {.max_running_jobs = 1};
  EXPECT_EQ(Victims(Schedule(input)), "");
  EXPECT_EQ(OverQuota(Schedule(input)), "a");
}

// Whatever the situation: nobody is both started and preempted for, no victim is taken twice, each
// victim has a lower priority, and quotas hold once the plan is carried out.
TEST(SchedulerTest, EveryPlanKeepsItsRules) {
  std::mt19937 random(11);
  const auto pick = [&](int below) { return static_cast<int>(random() % below); };
  for (int round = 0; round < 3'000; ++round) {
    ScheduleInput input{.queue = {}, .devices = BusyGpus(0)};
    const int gpus = 1 + pick(3);
    for (int i = 0; i < gpus; ++i) {
      const std::string name = absl::StrCat("cuda:", i);
      const bool busy = pick(3) != 0;
      input.devices.push_back({name, true, busy});
      if (!busy) continue;
      RunningJob job =
          OnDevice(absl::StrCat("r", i), name, pick(3), pick(2) == 0 ? "alice" : "bob");
      job.ending = pick(4) == 0;
      job.preemptible = !job.ending && pick(4) != 0;
      job.unsaved = absl::Minutes(pick(3));
      input.running.push_back(job);
    }
    for (int i = 0; i < 4; ++i)
      input.queue.push_back(
          Waiting(absl::StrCat("q", i), i + 1, pick(4), pick(2) == 0 ? "alice" : "bob"));
    input.quotas = {.max_running_jobs = pick(4), .max_running_jobs_per_owner = pick(3)};
    input.rules.preemption = pick(2) == 0;
    const SchedulePlan plan = Schedule(input);
    std::set<std::string> served, victims;
    std::map<std::string, int> owners;
    for (const RunningJob& job : input.running) ++owners[job.owner];
    const auto owner_of = [&](const std::string& id) {
      return std::find_if(input.queue.begin(), input.queue.end(),
                          [&](const QueueEntry& e) { return e.id == id; })
          ->owner;
    };
    for (const Assignment& a : plan.assignments) {
      EXPECT_TRUE(served.insert(a.job_id).second);
      ++owners[owner_of(a.job_id)];
    }
    for (const Preemption& p : plan.preemptions) {
      EXPECT_TRUE(served.insert(p.for_job).second);
      EXPECT_TRUE(victims.insert(p.victim).second);
      EXPECT_TRUE(input.rules.preemption);
      const auto& victim = *std::find_if(input.running.begin(), input.running.end(),
                                         [&](const RunningJob& job) { return job.id == p.victim; });
      const auto& entry = *std::find_if(input.queue.begin(), input.queue.end(),
                                        [&](const QueueEntry& e) { return e.id == p.for_job; });
      EXPECT_TRUE(victim.preemptible && !victim.ending && victim.priority < entry.priority);
    }
    if (plan.assignments.empty()) continue;
    const int total = static_cast<int>(input.running.size() + plan.assignments.size());
    const int limit = input.quotas.max_running_jobs_per_owner;
    EXPECT_TRUE(input.quotas.max_running_jobs == 0 || total <= input.quotas.max_running_jobs);
    for (const Assignment& a : plan.assignments)
      EXPECT_TRUE(limit == 0 || owners[owner_of(a.job_id)] <= limit);
  }
}

}  // namespace
}  // namespace trainerd::server
