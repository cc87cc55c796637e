// SPDX-License-Identifier: Apache-2.0
// The options of all commands, and the functions that add the commands to the parser, group by
// group. Their implementation is in commands/.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "client/commands/commands.h"

namespace trainerd::client {

inline constexpr char kJobHelp[] =
    "jobs/ID, ID, a unique prefix of an ID, a unique display name, or latest";

// All options; `run` executes the selected command.
struct Arguments {
  AddressChoice address;
  OutputForm form = OutputForm::kTable;
  SubmitOptions submit;
  LsOptions ls;
  EventsOptions events;
  MetricsOptions metrics;
  CompareOptions compare;
  std::string job;
  std::vector<std::string> rm;
  WatchCommandOptions watch;
  UsageOptions usage;
  ControlOptions pause;
  UpdateOptions update;
  StopOptions stop;
  LogsOptions logs;
  CheckpointsLsOptions checkpoints;
  EvaluationsOptions evaluations;
  EvaluationsCancelOptions cancel;
  EvaluateOptions evaluate;
  PullCommandOptions pull;
  std::vector<std::string> files;
  std::string checkpoint;
  CheckpointLabelOptions label;
  CheckpointExpireOptions expire;
  CheckpointOptions request_checkpoint;
  GcOptions gc;
  ResumeOptions resume;
  WaitOptions wait;
  ValidateOptions validate;
  PreviewOptions preview;
  NotificationsOptions notifications;
  DrainOptions drain;
  std::string shell;
  std::string notification;
  TokenCreateOptions token_create;
  std::string token;
  AuditOptions audit;
  std::function<int(const Context&)> run;
};

// Adds a command that sets Arguments::run. -o and --address may follow it.
CLI::App* AddCommand(CLI::App& app, const char* name, const char* help, Arguments& arguments,
                     std::function<int(const Context&)> run);

// job_commands.cc
void AddSubmit(CLI::App& app, Arguments& a);
void AddDataCommands(CLI::App& app, Arguments& a);
void AddReadingCommands(CLI::App& app, Arguments& a);
void AddHistoryCommands(CLI::App& app, Arguments& a);
void AddRunCommands(CLI::App& app, Arguments& a);
void AddControlCommands(CLI::App& app, Arguments& a);
// daemon_commands.cc
void AddUsage(CLI::App& app, Arguments& a);
void AddCheckpointCommands(CLI::App& app, Arguments& a);
void AddEvaluationCommands(CLI::App& app, Arguments& a);
void AddNotifications(CLI::App& app, Arguments& a);
void AddAccessCommands(CLI::App& app, Arguments& a);
void AddFileCommands(CLI::App& app, Arguments& a);
void AddDaemonCommands(CLI::App& app, Arguments& a);

}  // namespace trainerd::client
