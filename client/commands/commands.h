// SPDX-License-Identifier: Apache-2.0
// The commands of trainctl: each takes its options and gives an exit code. command_line.cc says how
// they are written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "client/commands/context.h"

namespace trainerd::client {

struct SubmitOptions {
  std::string file;  // empty only with `from`
  std::vector<std::string> sets;
  std::string from;
  std::string request_id;  // empty: a random one
  bool validate_only = false;
  bool no_validate = false;
  bool watch = false;
  bool wait = false;
};
int RunSubmit(const SubmitOptions& options, const Context& context);

struct LsOptions {
  std::vector<std::string> states;
  std::vector<std::string> labels;  // key=value
  int limit = 0;                    // 0 = all
};
int RunLs(const LsOptions& options, const Context& context);

int RunGet(const std::string& job, const Context& context);

struct WatchCommandOptions {
  std::string job;    // empty: all jobs
  std::string after;  // cursor, begin, or empty
};
int RunWatch(const WatchCommandOptions& options, const Context& context);
// The same for a job that is known already (submit --watch). Exit code by the job's end.
int WatchJob(Connection& connection, const std::string& name, const std::string& after,
             const Context& context);

struct ControlOptions {
  std::string job;
  std::string reason;
};
int RunPause(const ControlOptions& options, const Context& context);
int RunResume(const std::string& job, const Context& context);

struct StopOptions {
  std::string job;
  std::string reason;
  bool discard = false;
  bool force = false;
};
int RunStop(const StopOptions& options, const Context& context);

int RunRm(const std::string& job, const Context& context);

struct LogsOptions {
  std::string job;
  bool follow = false;
  int attempt = 0;  // 0 = the newest, and with `follow` those after it until the job has ended
  int tail = 0;     // 0 = from the beginning
};
int RunLogs(const LogsOptions& options, const Context& context);

struct CheckpointsLsOptions {
  std::string job;
  bool all = false;  // deleted ones too
};
int RunCheckpointsLs(const CheckpointsLsOptions& options, const Context& context);

struct WaitOptions {
  std::string job;
  std::vector<std::string> states;  // empty: the job's end
  std::string timeout;              // empty: none
};
int RunWait(const WaitOptions& options, const Context& context);
// Waits for the job's end and prints the job (submit --wait).
int WaitForEnd(Connection& connection, const std::string& name, const Context& context);

struct ValidateOptions {
  std::string file;
  std::vector<std::string> sets;
  bool full = false;  // all of the data, tokenized, here; no daemon is asked
};
int RunValidate(const ValidateOptions& options, const Context& context);

struct PreviewOptions {
  std::string file;
  std::vector<std::string> sets;
  int limit = 3;
  bool packed = false;
  bool json = false;
  std::optional<std::string> html;  // a page is written to this path
};
int RunPreview(const PreviewOptions& options, const Context& context);

int RunConfigReference(const Context& context);
int RunVersion(const Context& context);

}  // namespace trainerd::client
