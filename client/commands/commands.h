// SPDX-License-Identifier: Apache-2.0
// The commands of trainctl. Each takes its options and returns an exit code. command_line.cc
// defines their flags.
#pragma once

#include <string>
#include <vector>

#include "client/commands/common/context.h"
#include "client/preview/preview_page.h"

namespace trainerd::client {

struct SubmitOptions {
  // Empty only with `from`.
  std::string file;
  std::vector<std::string> sets;
  std::string from;
  // Empty: a random one.
  std::string request_id;
  // Sets the key `suspended`.
  bool suspended = false;
  bool validate_only = false;
  bool no_validate = false;
  bool watch = false;
  bool wait = false;
};
int RunSubmit(const SubmitOptions& options, const Context& context);

struct LsOptions {
  std::vector<std::string> states;
  // key=value
  std::vector<std::string> labels;
  // 0 = all.
  int limit = 0;
};
int RunLs(const LsOptions& options, const Context& context);

int RunGet(const std::string& job, const Context& context);
int RunExplain(const std::string& job, const Context& context);

struct WatchCommandOptions {
  // Empty: all jobs.
  std::string job;
  // Cursor, begin, or empty.
  std::string after;
};
int RunWatch(const WatchCommandOptions& options, const Context& context);
// The same for a resolved job name (submit --watch). Returns the exit code of the job's end.
int WatchJob(Connection& connection, const std::string& name, const std::string& after,
             const Context& context);

struct ControlOptions {
  std::string job;
  std::string reason;
};
int RunPause(const ControlOptions& options, const Context& context);
int RunResume(const std::string& job, const Context& context);

struct UpdateOptions {
  std::string job;
  // KEY=VALUE
  std::vector<std::string> changes;
  // Empty: not checked.
  std::string etag;
};
int RunUpdate(const UpdateOptions& options, const Context& context);

struct StopOptions {
  std::string job;
  std::string reason;
  bool discard = false;
  bool force = false;
};
int RunStop(const StopOptions& options, const Context& context);

int RunRm(const std::vector<std::string>& jobs, const Context& context);

struct LogsOptions {
  std::string job;
  bool follow = false;
  // 0 = the newest, and with `follow` the attempts after it until the job has ended.
  int attempt = 0;
  // Lines; 0 = all.
  int tail = 0;
};
int RunLogs(const LogsOptions& options, const Context& context);

struct CheckpointsLsOptions {
  std::string job;
  // Include deleted checkpoints.
  bool all = false;
};
int RunCheckpointsLs(const CheckpointsLsOptions& options, const Context& context);

struct WaitOptions {
  std::vector<std::string> jobs;
  // Empty: the end of the job.
  std::vector<std::string> states;
  // Empty: none.
  std::string timeout;
};
int RunWait(const WaitOptions& options, const Context& context);
// Waits for the end of the job and prints the job (submit --wait).
int WaitForEnd(Connection& connection, const std::string& name, const Context& context);

struct ValidateOptions {
  std::string file;
  std::vector<std::string> sets;
  // Read and tokenize all data locally, without the daemon.
  bool full = false;
};
int RunValidate(const ValidateOptions& options, const Context& context);

int RunPreview(const PreviewOptions& options, const Context& context);

int RunConfigReference(const Context& context);
int RunVersion(const Context& context);

}  // namespace trainerd::client
