// SPDX-License-Identifier: Apache-2.0
// Expectations: the table at the top of job.proto, written again by hand: every command in every
// state, with and without a verified checkpoint, before and after SaveFinal begins, for each
// earlier desired state and each wait reason.
#include "proto/contract/job/job_state.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace trainerd {
namespace {

using Job = v1::Job;
using State = Job::State;

const std::vector<State> kStates = {Job::QUEUED,    Job::STARTING, Job::RUNNING,   Job::PAUSING,
                                    Job::PAUSED,    Job::STOPPING, Job::SUCCEEDED, Job::STOPPED,
                                    Job::CANCELLED, Job::FAILED};
const std::vector<JobCommand> kCommands = {JobCommand::kPause, JobCommand::kResume,
                                           JobCommand::kStopGraceful, JobCommand::kStopDiscard,
                                           JobCommand::kStopForce};
const std::vector<Job::DesiredState> kDesired = {Job::DESIRED_RUN, Job::DESIRED_PAUSE,
                                                 Job::DESIRED_STOP, Job::DESIRED_DISCARD,
                                                 Job::DESIRED_FORCE};
const std::vector<Job::WaitReason> kWaits = {
    Job::WAIT_REASON_UNSPECIFIED, Job::RESOURCES, Job::BACKOFF,    Job::HELD,      Job::PREEMPTED,
    Job::EXECUTOR_UNREACHABLE,    Job::DISK,      Job::NOT_BEFORE, Job::DEPENDENCY};

// What a cell of the table says. "same" = as it was.
struct Cell {
  std::string state;  // a state, "same", "refused", or "STOPPED|CANCELLED": the first with a
                      // verified checkpoint, else the second
  // A desired state, "same", or "severer": the more severe of the two.
  std::string desired;
  std::string wait;  // a reason, "same", or "lifted": RESOURCES where it was HELD
};

const Cell kRefused = {"refused", "", ""};
const Cell kAsIs = {"same", "same", "same"};

// Rows in the order of kStates.
const std::map<JobCommand, std::vector<Cell>>& Table() {
  static const auto& table = *new std::map<JobCommand, std::vector<Cell>>{
      {JobCommand::kPause,
       {{"QUEUED", "DESIRED_PAUSE", "HELD"},
        {"PAUSING", "DESIRED_PAUSE", "WAIT_REASON_UNSPECIFIED"},
        {"PAUSING", "DESIRED_PAUSE", "WAIT_REASON_UNSPECIFIED"},
        {"same", "DESIRED_PAUSE", "same"},
        {"same", "DESIRED_PAUSE", "same"},
        kRefused,
        kRefused,
        kRefused,
        kRefused,
        kRefused}},
      {JobCommand::kResume,
       {{"QUEUED", "DESIRED_RUN", "lifted"},
        {"same", "DESIRED_RUN", "same"},
        {"same", "DESIRED_RUN", "same"},
        {"same", "DESIRED_RUN", "same"},
        {"QUEUED", "DESIRED_RUN", "RESOURCES"},
        kRefused,
        kRefused,
        kRefused,
        kRefused,
        kRefused}},
      {JobCommand::kStopGraceful,
       {{"STOPPED|CANCELLED", "DESIRED_STOP", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_STOP", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_STOP", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_STOP", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPED|CANCELLED", "DESIRED_STOP", "WAIT_REASON_UNSPECIFIED"},
        {"same", "severer", "same"},
        kRefused,
        kAsIs,
        kAsIs,
        kRefused}},
      {JobCommand::kStopDiscard,
       {{"CANCELLED", "DESIRED_DISCARD", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_DISCARD", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_DISCARD", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_DISCARD", "WAIT_REASON_UNSPECIFIED"},
        {"CANCELLED", "DESIRED_DISCARD", "WAIT_REASON_UNSPECIFIED"},
        {"same", "severer", "same"},
        kRefused,
        kAsIs,
        kAsIs,
        kRefused}},
      {JobCommand::kStopForce,
       {{"CANCELLED", "DESIRED_FORCE", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_FORCE", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_FORCE", "WAIT_REASON_UNSPECIFIED"},
        {"STOPPING", "DESIRED_FORCE", "WAIT_REASON_UNSPECIFIED"},
        {"CANCELLED", "DESIRED_FORCE", "WAIT_REASON_UNSPECIFIED"},
        {"same", "severer", "same"},
        kRefused,
        kAsIs,
        kAsIs,
        kRefused}},
  };
  return table;
}

Cell CellOf(JobCommand command, const CommandInput& input) {
  const bool lets_finish = command == JobCommand::kPause || command == JobCommand::kStopGraceful;
  if (input.state == Job::RUNNING && input.save_final_begun && lets_finish) return kAsIs;
  return Table().at(command)[static_cast<size_t>(input.state) - 1];
}

Job::DesiredState WishOf(JobCommand command) {
  return command == JobCommand::kStopGraceful  ? Job::DESIRED_STOP
         : command == JobCommand::kStopDiscard ? Job::DESIRED_DISCARD
                                               : Job::DESIRED_FORCE;
}

std::string ExpectedState(const Cell& cell, const CommandInput& input) {
  if (cell.state == "STOPPED|CANCELLED")
    return input.has_verified_checkpoint ? "STOPPED" : "CANCELLED";
  return cell.state == "same" ? Job::State_Name(input.state) : cell.state;
}

std::string ExpectedDesired(JobCommand command, const Cell& cell, const CommandInput& input) {
  if (cell.desired == "severer")
    return Job::DesiredState_Name(std::max(input.desired_state, WishOf(command)));
  return cell.desired == "same" ? Job::DesiredState_Name(input.desired_state) : cell.desired;
}

std::string ExpectedWait(const Cell& cell, const CommandInput& input) {
  if (cell.wait == "lifted")
    return input.wait_reason == Job::HELD ? "RESOURCES" : Job::WaitReason_Name(input.wait_reason);
  return cell.wait == "same" ? Job::WaitReason_Name(input.wait_reason) : cell.wait;
}

std::vector<CommandInput> AllInputs() {
  std::vector<CommandInput> inputs;
  for (const State state : kStates) {
    for (const Job::DesiredState desired : kDesired) {
      for (const Job::WaitReason wait : kWaits) {
        for (const bool checkpoint : {false, true}) {
          for (const bool save_final : {false, true})
            inputs.push_back({state, desired, wait, checkpoint, save_final});
        }
      }
    }
  }
  return inputs;
}

std::string Describe(JobCommand command, const CommandInput& input) {
  return absl::StrCat(CommandName(command), " in ", StateName(input.state), " wanting ",
                      Job::DesiredState_Name(input.desired_state), " waiting ",
                      Job::WaitReason_Name(input.wait_reason), " checkpoint ",
                      input.has_verified_checkpoint, " save_final ", input.save_final_begun);
}

TEST(JobStateTest, EveryCommandInEveryStateDoesWhatTheTableSays) {
  for (const JobCommand command : kCommands) {
    for (const CommandInput& input : AllInputs()) {
      SCOPED_TRACE(Describe(command, input));
      const Cell cell = CellOf(command, input);
      const absl::StatusOr<CommandEffect> effect = ApplyCommand(command, input);
      if (cell.state == "refused") {
        ASSERT_EQ(effect.status().code(), absl::StatusCode::kFailedPrecondition);
        continue;
      }
      ASSERT_TRUE(effect.ok()) << effect.status();
      ASSERT_EQ(Job::State_Name(effect->state), ExpectedState(cell, input));
      ASSERT_EQ(Job::DesiredState_Name(effect->desired_state),
                ExpectedDesired(command, cell, input));
      ASSERT_EQ(Job::WaitReason_Name(effect->wait_reason), ExpectedWait(cell, input));
      const bool differs = effect->state != input.state ||
                           effect->desired_state != input.desired_state ||
                           effect->wait_reason != input.wait_reason;
      ASSERT_EQ(effect->changed, differs);
    }
  }
}

// Note (6) of the table.
TEST(JobStateTest, AJobThatAwaitsItsEvaluationEndsAtOnceWhenItIsStopped) {
  for (const JobCommand command : kCommands) {
    const auto effect = ApplyCommand(command, {.state = Job::RUNNING,
                                               .desired_state = Job::DESIRED_RUN,
                                               .wait_reason = Job::WAIT_REASON_UNSPECIFIED,
                                               .has_verified_checkpoint = true,
                                               .awaiting_evaluation = true});
    ASSERT_TRUE(effect.ok()) << effect.status();
    const bool stops = command != JobCommand::kPause && command != JobCommand::kResume;
    State expected = Job::RUNNING;
    if (stops) expected = command == JobCommand::kStopGraceful ? Job::SUCCEEDED : Job::CANCELLED;
    EXPECT_EQ(StateName(effect->state), StateName(expected)) << CommandName(command);
    EXPECT_EQ(effect->desired_state, stops ? WishOf(command) : Job::DESIRED_RUN);
    EXPECT_EQ(effect->changed, stops);
  }
}

TEST(JobStateTest, RepeatedCommandChangesNothing) {
  for (const JobCommand command : kCommands) {
    for (const CommandInput& input : AllInputs()) {
      const absl::StatusOr<CommandEffect> first = ApplyCommand(command, input);
      if (!first.ok()) continue;
      CommandInput after = input;
      after.state = first->state;
      after.desired_state = first->desired_state;
      after.wait_reason = first->wait_reason;
      const absl::StatusOr<CommandEffect> second = ApplyCommand(command, after);
      ASSERT_TRUE(second.ok()) << Describe(command, after) << ": " << second.status();
      EXPECT_FALSE(second->changed) << Describe(command, after);
    }
  }
}

TEST(JobStateTest, EffectsAreTransitionsThatExistAndTerminalStatesNeverChange) {
  for (const JobCommand command : kCommands) {
    for (const CommandInput& input : AllInputs()) {
      const absl::StatusOr<CommandEffect> effect = ApplyCommand(command, input);
      if (!effect.ok()) continue;
      if (IsTerminal(input.state)) {
        EXPECT_FALSE(effect->changed) << Describe(command, input);
      } else {
        EXPECT_TRUE(IsTransitionAllowed(input.state, effect->state)) << Describe(command, input);
      }
    }
  }
}

TEST(JobStateTest, WishOnlyGetsMoreSevereWhileStopping) {
  for (const JobCommand command : kCommands) {
    for (const CommandInput& input : AllInputs()) {
      if (input.state != Job::STOPPING) continue;
      const absl::StatusOr<CommandEffect> effect = ApplyCommand(command, input);
      if (effect.ok()) {
        EXPECT_GE(effect->desired_state, input.desired_state) << Describe(command, input);
      }
    }
  }
}

TEST(JobStateTest, TransitionsAreExactlyTheDocumentedOnes) {
  std::map<State, std::set<State>> edges = {
      {Job::STATE_UNSPECIFIED, {Job::QUEUED}},
      {Job::QUEUED, {Job::QUEUED, Job::STARTING, Job::STOPPED, Job::CANCELLED, Job::FAILED}},
      {Job::STARTING,
       {Job::STARTING, Job::RUNNING, Job::PAUSING, Job::STOPPING, Job::QUEUED, Job::FAILED}},
      {Job::RUNNING,
       {Job::RUNNING, Job::SUCCEEDED, Job::PAUSING, Job::STOPPING, Job::QUEUED, Job::FAILED,
        Job::CANCELLED}},
      {Job::PAUSING,
       {Job::PAUSING, Job::PAUSED, Job::RUNNING, Job::QUEUED, Job::STOPPING, Job::SUCCEEDED,
        Job::FAILED}},
      {Job::PAUSED, {Job::PAUSED, Job::QUEUED, Job::STOPPED, Job::CANCELLED}},
      {Job::STOPPING, {Job::STOPPING, Job::STOPPED, Job::CANCELLED, Job::SUCCEEDED, Job::FAILED}},
  };
  std::vector<State> all = kStates;
  all.push_back(Job::STATE_UNSPECIFIED);
  for (const State from : all) {
    for (const State to : all) {
      EXPECT_EQ(IsTransitionAllowed(from, to), edges[from].count(to) > 0)
          << StateName(from) << " to " << StateName(to);
    }
  }
}

TEST(JobStateTest, TerminalAndActiveStates) {
  const std::set<State> terminal = {Job::SUCCEEDED, Job::STOPPED, Job::CANCELLED, Job::FAILED};
  const std::set<State> active = {Job::STARTING, Job::RUNNING, Job::PAUSING, Job::STOPPING};
  for (const State state : kStates) {
    EXPECT_EQ(IsTerminal(state), terminal.count(state) > 0) << StateName(state);
    EXPECT_EQ(IsActive(state), active.count(state) > 0) << StateName(state);
    EXPECT_EQ(StateName(state), Job::State_Name(state));
  }
  EXPECT_FALSE(IsTerminal(Job::STATE_UNSPECIFIED));
  EXPECT_FALSE(IsActive(Job::STATE_UNSPECIFIED));
}

TEST(JobStateTest, RefusalNamesCommandStateAndWhatToDo) {
  const CommandInput stopping = {Job::STOPPING, Job::DESIRED_STOP, Job::WAIT_REASON_UNSPECIFIED,
                                 true, false};
  absl::Status status = ApplyCommand(JobCommand::kPause, stopping).status();
  EXPECT_TRUE(absl::StartsWith(status.message(), "Pause is refused while the job is STOPPING: "))
      << status;
  const CommandInput failed = {Job::FAILED, Job::DESIRED_RUN, Job::WAIT_REASON_UNSPECIFIED, true,
                               false};
  status = ApplyCommand(JobCommand::kResume, failed).status();
  EXPECT_TRUE(absl::StartsWith(status.message(), "Resume is refused while the job is FAILED: "))
      << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "submit --from")) << status;
}

TEST(JobStateTest, StateOfANewerVersionIsAnErrorNotACrash) {
  const CommandInput unknown = {static_cast<State>(99), Job::DESIRED_RUN,
                                Job::WAIT_REASON_UNSPECIFIED, false, false};
  for (const JobCommand command : kCommands)
    EXPECT_EQ(ApplyCommand(command, unknown).status().code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(IsTransitionAllowed(static_cast<State>(99), static_cast<State>(99)));
  EXPECT_FALSE(IsTerminal(static_cast<State>(99)));
}

}  // namespace
}  // namespace trainerd
