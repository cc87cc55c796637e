// SPDX-License-Identifier: Apache-2.0
// The view is a pure function: expectations are what a person must be able to read from a given
// state and size.
#include "client/view/live_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "client/view/text_width.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kJob[] = "jobs/4f0123456789";
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::Event EventAt(absl::Time time) {
  v1::Event event;
  event.set_job(kJob);
  event.set_attempt(2);
  event.mutable_time()->set_seconds(absl::ToUnixSeconds(time));
  return event;
}

v1::Event Step(int64_t step, double loss) {
  v1::Event event = EventAt(kNow - absl::Seconds(2));
  v1::Metrics& metrics = *event.mutable_metrics();
  metrics.set_step(step);
  metrics.set_total_steps(1000);
  metrics.set_loss(loss);
  metrics.set_learning_rate(1.8e-4);
  metrics.set_grad_norm(0.83);
  metrics.set_tokens_per_second(12345.6);
  metrics.set_step_seconds(0.52);
  metrics.set_memory_bytes(int64_t{5} << 28);
  metrics.set_memory_peak_bytes(int64_t{3} << 29);
  metrics.set_eta_seconds(202);
  metrics.set_epoch(0.86);
  return event;
}

LiveState RunningState() {
  LiveState state;
  v1::Job job;
  job.set_name(kJob);
  job.mutable_config()->set_name("alpaca-sft");
  job.set_state(v1::Job::RUNNING);
  job.set_desired_state(v1::Job::DESIRED_RUN);
  job.set_attempt(2);
  job.add_devices("cuda:0");
  state.SetSnapshot(job);
  for (int step = 1; step <= 430; ++step) state.Apply(Step(step, 3.0 - step * 0.002));
  v1::Event eval = EventAt(kNow);
  eval.mutable_eval()->set_step(0);
  eval.mutable_eval()->set_set("validation");
  eval.mutable_eval()->set_loss(2.9);
  state.Apply(eval);
  eval.mutable_eval()->set_step(400);
  eval.mutable_eval()->set_loss(2.31);
  state.Apply(eval);
  v1::Event checkpoint = EventAt(kNow - absl::Seconds(125));
  checkpoint.mutable_checkpoint()->set_kind(v1::CheckpointEvent::PUBLISHED);
  checkpoint.mutable_checkpoint()->mutable_checkpoint()->set_name(std::string(kJob) +
                                                                  "/checkpoints/step-00000400-a2");
  checkpoint.mutable_checkpoint()->mutable_checkpoint()->set_size_bytes(512 << 20);
  state.Apply(checkpoint);
  return state;
}

v1::Event AlertEvent(bool active) {
  v1::Event event = EventAt(kNow);
  event.mutable_alert()->set_type("loss_spike");
  event.mutable_alert()->set_active(active);
  event.mutable_alert()->set_severity(v1::Alert::WARNING);
  event.mutable_alert()->set_step(425);
  event.mutable_alert()->set_message("loss 6.2 is above twice its mean");
  return event;
}

std::string Render(const LiveState& state, ViewOptions options = {}) {
  options.now = kNow;
  return absl::StrJoin(RenderJob(*state.Find(kJob), options), "\n");
}

TEST(LiveViewTest, ShowsAllOfARunningJob) {
  const std::string view = Render(RunningState(), {.columns = 120});
  EXPECT_THAT(view, HasSubstr("alpaca-sft   RUNNING   jobs/4f0123456789   attempt 2 on cuda:0"));
  EXPECT_THAT(view, HasSubstr("43 %   430/1,000 steps   ETA 3m20s   epoch 0.86"))
      << "the estimate ran down by the two seconds since the step";
  EXPECT_THAT(view, HasSubstr("█░"));
  EXPECT_THAT(view, HasSubstr("loss        2.1400   "));
  EXPECT_THAT(view, HasSubstr("█▇"));
  EXPECT_THAT(view, HasSubstr("12,346 tok/s   lr 1.80e-04   grad norm 0.8300   0.5200 s/step   "
                              "memory 1.2 GiB (peak 1.5 GiB)"));
  EXPECT_THAT(view, HasSubstr("validation  2.3100 at step 400 (2.9000 at step 0)"));
  EXPECT_THAT(view, HasSubstr("checkpoint  step-00000400-a2, 2m05s ago, 512 MiB"));
  EXPECT_THAT(view, HasSubstr("Ctrl-C leaves the job running."));
  EXPECT_THAT(view, Not(HasSubstr("\x1b"))) << "no colors unless requested";
}

TEST(LiveViewTest, NamesWhatCtrlCLeavesBehind) {
  LiveState state = RunningState();
  v1::Job job = state.Find(kJob)->job;
  job.set_state(v1::Job::PAUSED);
  state.SetSnapshot(job);
  EXPECT_THAT(Render(state), HasSubstr("Ctrl-C stops watching; the job keeps waiting."));
  job.set_state(v1::Job::SUCCEEDED);
  state.SetSnapshot(job);
  EXPECT_THAT(Render(state), Not(HasSubstr("Ctrl-C")));
}

TEST(LiveViewTest, ShowsActiveAlerts) {
  LiveState state = RunningState();
  state.Apply(AlertEvent(true));
  EXPECT_THAT(Render(state),
              HasSubstr("alert       loss_spike since step 425: loss 6.2 is above twice its mean"));
  state.Apply(AlertEvent(false));
  EXPECT_THAT(Render(state), Not(HasSubstr("loss_spike")));
}

TEST(LiveViewTest, ShowsConditionsAndConnection) {
  LiveState state = RunningState();
  v1::Event event = EventAt(kNow);
  auto& condition = *event.mutable_condition_changed()->mutable_condition();
  condition.set_type("Stalled");
  condition.set_active(true);
  condition.set_message("no step for 6 minutes");
  state.Apply(event);
  const std::string view = Render(state, {.connection = "lost 12s ago; retrying"});
  EXPECT_THAT(view, HasSubstr("condition   Stalled: no step for 6 minutes"));
  EXPECT_THAT(view, HasSubstr("connection  lost 12s ago; retrying"));
}

TEST(LiveViewTest, FitsEveryTerminalSize) {
  LiveState state = RunningState();
  state.Apply(AlertEvent(true));
  for (int columns = 1; columns <= 130; ++columns) {
    for (int rows : {1, 2, 5, 24}) {
      for (bool utf8 : {true, false}) {
        const auto lines =
            RenderJob(*state.Find(kJob),
                      {.columns = columns, .rows = rows, .color = true, .utf8 = utf8, .now = kNow});
        EXPECT_LE(static_cast<int>(lines.size()), rows);
        for (const std::string& line : lines)
          EXPECT_LE(DisplayWidth(line), columns) << columns << " columns: " << line;
      }
    }
  }
}

TEST(LiveViewTest, ShowsMarginAndAccuracyOfPairs) {
  LiveState state = RunningState();
  EXPECT_THAT(Render(state, {.columns = 120}), Not(HasSubstr("preference")));
  v1::Event step = Step(431, 0.5);
  step.mutable_metrics()->mutable_preference()->set_margin(1.25);
  step.mutable_metrics()->mutable_preference()->set_accuracy(0.5);
  state.Apply(step);
  EXPECT_THAT(Render(state, {.columns = 120}),
              HasSubstr("preference  margin 1.2500  accuracy 50 %"));
}

TEST(LiveViewTest, ShowsWholePartsOnASmallTerminal) {
  const std::string narrow = Render(RunningState(), {.columns = 32});
  EXPECT_THAT(narrow, HasSubstr("alpaca-sft   RUNNING\n"));
  EXPECT_THAT(narrow, HasSubstr("43 %   430/1,000 steps\n"));
  EXPECT_THAT(narrow, HasSubstr("rates       12,346 tok/s\n"));
  LiveState state = RunningState();
  state.Apply(AlertEvent(true));
  const std::string low = Render(state, {.rows = 3});
  EXPECT_THAT(low, HasSubstr("RUNNING"));
  EXPECT_THAT(low, HasSubstr("loss_spike")) << "an alert goes before the figures";
}

TEST(LiveViewTest, HandlesWideAndControlCharactersInNames) {
  LiveState state = RunningState();
  v1::Job job = state.Find(kJob)->job;
  job.mutable_config()->set_name("微调实验微调实验\x1b[2J");
  state.SetSnapshot(job);
  const auto lines = RenderJob(*state.Find(kJob), {.columns = 28, .now = kNow});
  EXPECT_LE(DisplayWidth(lines[0]), 28);
  EXPECT_THAT(lines[0], HasSubstr("RUNNING")) << "a long name gives way to the state";
  EXPECT_THAT(absl::StrJoin(lines, "\n"), Not(HasSubstr("\x1b")));
}

TEST(LiveViewTest, PrintsOnlyAsciiOnAPlainTerminal) {
  const std::string view = Render(RunningState(), {.utf8 = false});
  for (char c : view) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
  EXPECT_THAT(view, HasSubstr("[####"));
}

TEST(LiveViewTest, OmitsWhatWasNotMeasured) {
  LiveState state;
  v1::Job job;
  job.set_name(kJob);
  job.set_state(v1::Job::STARTING);
  job.mutable_config()->set_name("x");
  state.SetSnapshot(job);
  v1::Event stage = EventAt(kNow);
  stage.mutable_stage()->set_stage("PrepareData");
  stage.mutable_stage()->set_fraction(0.4);
  state.Apply(stage);
  std::string view = Render(state);
  EXPECT_THAT(view, HasSubstr("PrepareData 40 %"));
  EXPECT_THAT(view, HasSubstr("checkpoint  none yet"));
  for (const char* absent : {"loss", "tok/s", "ETA", "validation"})
    EXPECT_THAT(view, Not(HasSubstr(absent)));
  stage.mutable_stage()->set_finished(true);
  state.Apply(stage);
  EXPECT_THAT(Render(state), Not(HasSubstr("PrepareData")));
}

TEST(LiveViewTest, ShowsTheErrorOfAFailedJob) {
  LiveState state = RunningState();
  v1::Event event = EventAt(kNow);
  event.mutable_state_changed()->set_from_state(v1::Job::RUNNING);
  event.mutable_state_changed()->set_to_state(v1::Job::FAILED);
  event.mutable_state_changed()->mutable_error()->set_code("DATA_BAD_ROW");
  event.mutable_state_changed()->mutable_error()->set_message("train.jsonl:7: not JSON");
  state.Apply(event);
  const std::string view = Render(state);
  EXPECT_THAT(view, HasSubstr("FAILED"));
  EXPECT_THAT(view, HasSubstr("error       DATA_BAD_ROW: train.jsonl:7: not JSON"));
  EXPECT_THAT(view, Not(HasSubstr("Ctrl-C")));
  EXPECT_THAT(view, Not(HasSubstr("ETA")));
}

TEST(LiveViewTest, PrintsOneLinePerJobActiveJobsFirst) {
  LiveState state = RunningState();
  v1::Job ended;
  ended.set_name("jobs/aa");
  ended.set_state(v1::Job::SUCCEEDED);
  ended.mutable_config()->set_name("done");
  state.SetSnapshot(ended);
  const auto lines = RenderJobs(state, {.columns = 100, .now = kNow});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("RUNNING"));
  EXPECT_THAT(lines[0], HasSubstr("430/1,000"));
  EXPECT_THAT(lines[1], HasSubstr("SUCCEEDED"));
  EXPECT_EQ(RenderJobs(state, {.rows = 1, .now = kNow}).size(), 1u);
}

}  // namespace
}  // namespace trainerd::client
