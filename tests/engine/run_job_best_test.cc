// SPDX-License-Identifier: Apache-2.0
// evaluation.best in the worker: an evaluation that improves the metric writes a checkpoint.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "engine/run_job.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using testing::Ran;
using testing::RunAttempt;
using testing::TinyJob;

// Steps of the published checkpoints, and validation losses by step.
struct Published {
  std::vector<int64_t> steps;
  std::map<int64_t, double> losses;
};

Published RunAndRecord(const internal::AttemptSpec& spec) {
  Published published;
  Ran ran;
  RunAttempt(spec, &ran, [&](const v1::Event& event, RunControl&) {
    if (event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED)
      published.steps.push_back(event.checkpoint().checkpoint().step());
    if (event.has_eval()) published.losses[event.eval().step()] = event.eval().loss();
  });
  EXPECT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  return published;
}

std::string Settings(const std::string& best) {
  return "checkpoint: {every_steps: 0}\nevaluation: {every_steps: 2" + best + "}";
}

TEST(RunJobBestTest, WritesACheckpointAtEachImprovementAndAtTheEnd) {
  TempDir folder;
  TinyJob job(folder);
  EXPECT_THAT(RunAndRecord(job.Spec("without", 1, Settings(""))).steps, ElementsAre(12));
  const Published lowest = RunAndRecord(job.Spec("lowest", 1, Settings(", best: {}")));
  std::vector<int64_t> expected;
  double best = std::numeric_limits<double>::infinity();
  for (const auto& [step, loss] : lowest.losses) {
    if (step > 0 && loss < best) expected.push_back(step);
    if (step > 0) best = std::min(best, loss);
  }
  if (expected.back() != 12) expected.push_back(12);
  EXPECT_EQ(lowest.steps, expected);
  EXPECT_GT(expected.size(), 2u) << "the job learns";
  // The loss before the first step is the largest one, but no checkpoint can hold step 0.
  EXPECT_THAT(RunAndRecord(job.Spec("largest", 1, Settings(", best: {mode: max}"))).steps,
              ElementsAre(2, 12));
}

TEST(RunJobBestTest, ComparesWithTheBestOfEarlierAttempts) {
  TempDir folder;
  TinyJob job(folder);
  internal::AttemptSpec spec = job.Spec("low", 1, Settings(", best: {}"));
  spec.set_best_value(-1);
  EXPECT_THAT(RunAndRecord(spec).steps, ElementsAre(12));
  const double equal = RunAndRecord(job.Spec("reference", 1, Settings(", best: {}"))).losses.at(2);
  spec = job.Spec("equal", 1, Settings(", best: {}"));
  spec.set_best_value(equal);
  EXPECT_THAT(RunAndRecord(spec).steps, ::testing::Not(::testing::Contains(2)))
      << "no better than that";
}

TEST(RunJobBestTest, AMetricOfAnEvaluatorWritesNone) {
  TempDir folder;
  TinyJob job(folder);
  EXPECT_THAT(RunAndRecord(job.Spec("run", 1,
                                    Settings(", remote: [{name: r, suite: s}], best: {metric: "
                                             "remote.r.loss}")))
                  .steps,
              ElementsAre(12));
}

TEST(RunJobBestTest, ARequestAtASavedStepIsServedByTheNextOne) {
  TempDir folder;
  TinyJob job(folder);
  Ran first, second;
  RunAttempt(job.Spec("run", 1, Settings("")), &first,
             [](const v1::Event& event, RunControl& control) {
               if (event.metrics().step() == 5) control.RequestStop(StopMode::kPause);
             });
  ASSERT_EQ(first.record.end(), v1::Attempt::PAUSED_OK);
  internal::AttemptSpec spec = job.Spec("run", 2, Settings(""));
  spec.set_resume_path(first.record.last_checkpoint().path());
  spec.set_resume_name(first.record.last_checkpoint().name());
  std::vector<int64_t> published;
  RunAttempt(spec, &second, [&](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "LoadWeights" && !event.stage().finished())
      control.RequestCheckpoint();
    if (event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED)
      published.push_back(event.checkpoint().checkpoint().step());
  });
  EXPECT_THAT(published, ElementsAre(6, 12));
}

}  // namespace
}  // namespace trainerd::engine
