// SPDX-License-Identifier: Apache-2.0
// The commands of trainctl. Each takes its options and returns an exit code. command_line.cc
// defines their flags.
#pragma once

#include <cstdint>
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
  // KEY=VALUE,VALUE: a job for each combination.
  std::vector<std::string> sweeps;
  // Label `group` of a sweep; empty: of the job file, else made from its name.
  std::string group;
  // Check a sweep and print its jobs, submit nothing.
  bool dry_run = false;
  // Sends the local files that the job names.
  bool upload = false;
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
  std::string selector;
  // Value of the label `group`.
  std::string group;
  // Exact, or a prefix with *.
  std::string name;
  // "2h", or a date or time.
  std::string since;
  // As ListJobsRequest.order_by.
  std::string order;
  // 0 = all.
  int limit = 0;
};
int RunLs(const LsOptions& options, const Context& context);

int RunGet(const std::string& job, const Context& context);
int RunExplain(const std::string& job, const Context& context);

struct EventsOptions {
  // Empty: all jobs.
  std::string job;
  // Names of Event.body fields; empty: all.
  std::vector<std::string> types;
  bool newest_first = false;
  // 0 = all.
  int limit = 0;
};
int RunEvents(const EventsOptions& options, const Context& context);

struct MetricsOptions {
  std::string job;
  // Empty: those of QueryMetrics.
  std::vector<std::string> metrics;
  // 0: 20 in a table, else 1000.
  int points = 0;
  int64_t min_step = 0;
  // 0 = to the end.
  int64_t max_step = 0;
  // 0 = the lineage.
  int attempt = 0;
  bool csv = false;
};
int RunMetrics(const MetricsOptions& options, const Context& context);

struct CompareOptions {
  std::vector<std::string> jobs;
  // Value of the label `group`, instead of jobs.
  std::string group;
  // Empty: evaluation.best of the jobs, else eval.validation.loss, else loss.
  std::string metric;
  // min, max, or empty.
  std::string mode;
};
int RunCompare(const CompareOptions& options, const Context& context);

struct WatchCommandOptions {
  // Empty: all jobs.
  std::string job;
  // With all jobs only.
  std::string selector;
  // Cursor, begin, or empty.
  std::string after;
};
int RunWatch(const WatchCommandOptions& options, const Context& context);
// The same for a resolved job name (submit --watch). Returns the exit code of the job's end.
int WatchJob(Connection& connection, const std::string& name, const std::string& after,
             const Context& context);

struct UsageOptions {
  // Empty: all jobs.
  std::string job;
  // YYYY-MM-DD, both included; empty: from the beginning, to now.
  std::string since;
  std::string until;
  // Empty, owner, day or label:KEY.
  std::string group_by;
  std::string selector;
};
int RunUsage(const UsageOptions& options, const Context& context);

struct ControlOptions {
  std::string job;
  std::string reason;
  // Empty: limits.stop_grace.
  std::string grace;
};
int RunPause(const ControlOptions& options, const Context& context);
struct ResumeOptions {
  std::string job;
  // ID, or JOB/checkpoints/ID; empty: the newest verified one.
  std::string from_checkpoint;
};
int RunResume(const ResumeOptions& options, const Context& context);

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
  // Empty: limits.stop_grace.
  std::string grace;
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
  // Empty: of all jobs.
  std::string job;
  // Include deleted checkpoints.
  bool all = false;
};
int RunCheckpointsLs(const CheckpointsLsOptions& options, const Context& context);

struct EvaluationsOptions {
  // Empty: of all jobs.
  std::string job;
  std::vector<std::string> states;
};
int RunEvaluations(const EvaluationsOptions& options, const Context& context);
struct EvaluationsCancelOptions {
  std::vector<std::string> evaluations;
  std::string reason;
};
int RunEvaluationsCancel(const EvaluationsCancelOptions& options, const Context& context);

struct EvaluateOptions {
  // Of a request: JOB, JOB/checkpoints/ID, JOB/final or JOB/start.
  std::string model;
  std::string entry;
  // KEY=VALUE
  std::vector<std::string> params;
  std::string deadline;
  // A request names one at most.
  std::vector<std::string> suites;
  // Work on what is requested.
  bool worker = false;
  std::string command;
  // Empty: 60s.
  std::string lease;
  // Exit after one evaluation.
  bool once = false;
};
int RunEvaluate(const EvaluateOptions& options, const Context& context);
int RunEvaluateWorker(const EvaluateOptions& options, const Context& context);

struct PullCommandOptions {
  // JOB, JOB/checkpoints/ID or JOB/final.
  std::string name;
  // Empty: named after the checkpoint.
  std::string folder;
};
int RunCheckpointsPull(const PullCommandOptions& options, const Context& context);

int RunFiles(const Context& context);
int RunFilesRm(const std::vector<std::string>& files, const Context& context);

// CHECKPOINT is JOB/checkpoints/ID.
struct CheckpointLabelOptions {
  std::string checkpoint;
  // KEY=VALUE, or KEY- to remove it.
  std::vector<std::string> labels;
};
int RunCheckpointsLabel(const CheckpointLabelOptions& options, const Context& context);
int RunCheckpointsPin(const std::string& checkpoint, bool pinned, const Context& context);
struct CheckpointExpireOptions {
  std::string checkpoint;
  // now, never, a time from now, or a time.
  std::string when = "now";
};
int RunCheckpointsExpire(const CheckpointExpireOptions& options, const Context& context);
int RunCheckpointsVerify(const std::string& checkpoint, const Context& context);

struct CheckpointOptions {
  std::string job;
  // KEY=VALUE
  std::vector<std::string> labels;
  bool pin = false;
};
int RunCheckpoint(const CheckpointOptions& options, const Context& context);

int RunTree(const std::string& job, const Context& context);

struct GcOptions {
  // Empty: of all jobs.
  std::string job;
  bool dry_run = false;
};
int RunGc(const GcOptions& options, const Context& context);

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

struct TokenCreateOptions {
  std::string principal;
  // viewer, operator or admin.
  std::string role = "viewer";
  // A time span, "never", or empty: 90 days.
  std::string ttl;
};
int RunTokenCreate(const TokenCreateOptions& options, const Context& context);
int RunTokenLs(const Context& context);
// `name`: TOKEN or tokens/TOKEN.
int RunTokenRevoke(const std::string& name, const Context& context);

struct AuditOptions {
  // Empty: all.
  std::string principal;
  std::string resource;
};
int RunAuditLs(const AuditOptions& options, const Context& context);
int RunAuditVerify(const Context& context);

struct NotificationsOptions {
  // PENDING, DELIVERED, DEAD; empty: all.
  std::vector<std::string> states;
};
int RunNotifications(const NotificationsOptions& options, const Context& context);
// `number`: NUMBER or notifications/NUMBER.
int RunNotificationsRetry(const std::string& number, const Context& context);

struct DrainOptions {
  bool pause_running = false;
  // Empty: limits.stop_grace of each job.
  std::string deadline;
  // Until no attempt runs.
  bool wait = false;
};
int RunDrain(const DrainOptions& options, const Context& context);
int RunUndrain(const Context& context);

// Exit code kProblemFound if something needs action.
int RunDoctor(const Context& context);
// Prints "ID\tNAME STATE" of the newest jobs whose id begins so; nothing if no daemon answers at
// once.
void PrintJobsForCompletion(const std::string& beginning, const Context& context);

int RunConfigReference(const Context& context);
int RunVersion(const Context& context);
int RunHealth(const Context& context);

}  // namespace trainerd::client
