// SPDX-License-Identifier: Apache-2.0
// The commands and flags; their implementation is in commands/. A command that does not work yet is
// absent. The only file of the client that catches exceptions: CLI11 reports parse errors with
// them.
#include "client/command_line.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/foreign_commands.h"
#include "proto/base/plain_text.h"
#include "proto/contract/config/advice/nearest_word.h"

namespace trainerd::client {
namespace {

constexpr char kJobHelp[] =
    "jobs/ID, ID, a unique prefix of an ID, a unique display name, or latest";
constexpr char kSelectorHelp[] =
    "Only jobs whose labels match: team=blue, team!=blue, team in (blue, red), team notin (blue), "
    "team, !team; separated by commas";
constexpr char kGraceHelp[] =
    "Longest time to the end of the attempt: 30s, 5m, 2h … (default: limits.stop_grace of the job)";
constexpr char kSetHelp[] =
    "Override a key of the job file, for example train.max_steps=20; may be repeated; relative "
    "paths start from the folder of the job file";

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
  std::string notification;
  std::function<int(const Context&)> run;
};

void AddGlobalOptions(CLI::App& app, Arguments& arguments) {
  app.add_option("--address", arguments.address.flag,
                 "Daemon: unix:PATH or HOST:PORT (default: TRAINERD_ADDRESS, else the default "
                 "state directory's socket)");
  app.add_option("--token-file", arguments.address.token_flag,
                 "File with the daemon's token, for HOST:PORT (default: TRAINERD_TOKEN_FILE, else "
                 "token in the default state directory)");
  static const std::map<std::string, OutputForm> kForms = {{"table", OutputForm::kTable},
                                                           {"wide", OutputForm::kWide},
                                                           {"json", OutputForm::kJson},
                                                           {"jsonl", OutputForm::kJsonl},
                                                           {"yaml", OutputForm::kYaml}};
  app.add_option_function<std::string>(
         "-o,--output", [&arguments](const std::string& text) { arguments.form = kForms.at(text); },
         "Output form: table | wide | json (one document) | jsonl (one per line) | yaml")
      ->check(CLI::IsMember({"table", "wide", "json", "jsonl", "yaml"}))
      ->type_name("FORM");
}

CLI::App* AddCommand(CLI::App& app, const char* name, const char* help, Arguments& arguments,
                     std::function<int(const Context&)> run) {
  CLI::App* command = app.add_subcommand(name, help);
  // -o and --address may follow the command.
  command->fallthrough();
  command->callback([&arguments, run = std::move(run)] { arguments.run = run; });
  return command;
}

void AddSubmit(CLI::App& app, Arguments& a) {
  CLI::App* submit =
      AddCommand(app, "submit", "Queue a job; prints its name", a,
                 [&a](const Context& context) { return RunSubmit(a.submit, context); });
  submit->add_option("JOB.yaml", a.submit.file, "Job file; not needed with --from");
  submit->add_option("--set", a.submit.sets, kSetHelp)
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  submit
      ->add_option("--from", a.submit.from,
                   "Continue from JOB or JOB/checkpoints/ID with its configuration; a job file and "
                   "--set override it")
      ->type_name("JOB");
  submit
      ->add_option("--request-id", a.submit.request_id,
                   "A repeated submit with the same ID returns the first job (default: random)")
      ->type_name("ID");
  submit->add_flag("--suspended", a.submit.suspended,
                   "Hold the job in the queue until `trainctl resume`");
  submit
      ->add_option("--sweep", a.submit.sweeps,
                   "Submit a job for each value of the key, for example "
                   "optimizer.learning_rate=1e-5,2e-5; repeated: for each combination")
      ->type_name("KEY=VALUE,…")
      ->allow_extra_args(false);
  submit
      ->add_option("--group", a.submit.group,
                   "Label `group` of the jobs of a sweep (default: name and request id)")
      ->type_name("GROUP");
  submit->add_flag("--dry-run", a.submit.dry_run,
                   "Check the jobs of a sweep and print them, submit nothing");
  submit->add_flag("--upload", a.submit.upload,
                   "Send the local files that the job names (data, prompts, chat template) to the "
                   "daemon");
  CLI::Option* validate_only = submit->add_flag("--validate-only", a.submit.validate_only,
                                                "Check configuration and data, submit nothing");
  CLI::Option* no_validate =
      submit->add_flag("--no-validate", a.submit.no_validate, "Submit without checking the data");
  CLI::Option* watch = submit->add_flag("--watch", a.submit.watch,
                                        "Watch the job to its end, which determines the exit code");
  CLI::Option* wait = submit->add_flag(
      "--wait", a.submit.wait, "Wait for the end of the job, which determines the exit code");
  no_validate->excludes(validate_only);
  watch->excludes(wait)->excludes(validate_only);
  wait->excludes(validate_only);
}

void AddDataCommands(CLI::App& app, Arguments& a) {
  CLI::App* validate =
      AddCommand(app, "validate",
                 "Check a job file and its data: the beginning and end of each file; --full: all "
                 "records, tokenized",
                 a, [&a](const Context& context) { return RunValidate(a.validate, context); });
  validate->add_option("JOB.yaml", a.validate.file, "Job file")->required();
  validate->add_option("--set", a.validate.sets, kSetHelp)
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  validate->add_flag(
      "--full", a.validate.full,
      "Read all records locally, with tokenizer and template of the job, without the "
      "daemon: exact counts and every error");

  CLI::App* preview = AddCommand(
      app, "preview", "Print conversations as they are trained, with the trained part marked", a,
      [&a](const Context& context) { return RunPreview(a.preview, context); });
  preview->add_option("JOB.yaml", a.preview.file, "Job file")->required();
  preview->add_option("--set", a.preview.sets, kSetHelp)
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  preview
      ->add_option("--limit", a.preview.limit,
                   "Number of examples, or packed sequences (default 3)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000000));
  preview->add_flag("--packed", a.preview.packed,
                    "Packed sequences in the order of the first epoch");
  CLI::Option* json = preview->add_flag("--json", a.preview.json,
                                        "Token ids, labels and texts, one JSON object per line");
  preview
      ->add_option("--html", a.preview.html,
                   "Write a self-contained HTML page instead of text; -o json prints its summary")
      ->type_name("FILE")
      ->excludes(json);
}

void AddReadingCommands(CLI::App& app, Arguments& a) {
  CLI::App* ls = AddCommand(app, "ls", "List jobs, newest first", a,
                            [&a](const Context& context) { return RunLs(a.ls, context); });
  ls->add_option("--state", a.ls.states, "Only jobs in this state; may be repeated")
      ->type_name("STATE")
      ->allow_extra_args(false);
  ls->add_option("--label", a.ls.labels, "Only jobs with this label; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  ls->add_option("--selector,-l", a.ls.selector, kSelectorHelp)->type_name("SELECTOR");
  ls->add_option("--group", a.ls.group, "Only jobs with this label `group`: those of a sweep")
      ->type_name("GROUP");
  ls->add_option("--name", a.ls.name,
                 "Only jobs with this name, or with a name that begins so: run*")
      ->type_name("NAME");
  ls->add_option("--since", a.ls.since,
                 "Only jobs submitted since then: 2h (ago), 2026-12-01, or 2026-12-01T22:00:00Z")
      ->type_name("TIME");
  ls->add_option("--order", a.ls.order,
                 "create_time | end_time | priority | display_name | queue, optionally followed by "
                 "\" desc\" "
                 "(default: \"create_time desc\")")
      ->type_name("ORDER");
  ls->add_option("--limit", a.ls.limit, "Maximum number of jobs (default: all)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000000));

  CLI::App* get = AddCommand(
      app, "get", "Print a job; -o yaml: its resolved configuration; -o wide: also its attempts", a,
      [&a](const Context& context) { return RunGet(a.job, context); });
  get->add_option("JOB", a.job, kJobHelp)->required();

  CLI::App* explain =
      AddCommand(app, "explain", "Print why a job is in its state, and what would change that", a,
                 [&a](const Context& context) { return RunExplain(a.job, context); });
  explain->add_option("JOB", a.job, kJobHelp)->required();

  CLI::App* watch =
      AddCommand(app, "watch",
                 "Follow a job, or all jobs: live view on a terminal, one line per event on a pipe "
                 "or with -o wide",
                 a, [&a](const Context& context) { return RunWatch(a.watch, context); });
  watch->add_option("JOB", a.watch.job, kJobHelp);
  watch
      ->add_option("--after", a.watch.after,
                   "Continue after this cursor; begin = from the oldest event (default: from now)")
      ->type_name("CURSOR");

  watch->add_option("--selector,-l", a.watch.selector, kSelectorHelp)->type_name("SELECTOR");

  CLI::App* wait =
      AddCommand(app, "wait",
                 "Wait until jobs are in a state, or have ended; the exit code is the worst of all",
                 a, [&a](const Context& context) { return RunWait(a.wait, context); });
  wait->add_option("JOB", a.wait.jobs, absl::StrCat("One or more: ", kJobHelp))->required();
  wait->add_option(
          "--for", a.wait.states,
          "State to wait for; may be repeated (default: the end of the job, which determines the "
          "exit code)")
      ->type_name("STATE")
      ->allow_extra_args(false);
  wait->add_option("--timeout", a.wait.timeout,
                   "Give up after 30s, 5m, 2h … with exit code 4 (default: never)")
      ->type_name("TIME");
}

void AddHistoryCommands(CLI::App& app, Arguments& a) {
  CLI::App* events =
      AddCommand(app, "events", "Print the stored events of a job, or of all jobs, oldest first", a,
                 [&a](const Context& context) { return RunEvents(a.events, context); });
  events->add_option("JOB", a.events.job, kJobHelp);
  events
      ->add_option("--type", a.events.types,
                   "Only events of this type (state_changed, checkpoint, eval …); may be repeated")
      ->type_name("TYPE")
      ->allow_extra_args(false);
  events->add_flag("--newest-first", a.events.newest_first, "Newest first");
  events->add_option("--limit", a.events.limit, "Maximum number of events (default: all)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000000));

  CLI::App* metrics =
      AddCommand(app, "metrics", "Print curves of a job by step; -o wide: also minimum and maximum",
                 a, [&a](const Context& context) { return RunMetrics(a.metrics, context); });
  metrics->add_option("JOB", a.metrics.job, kJobHelp)->required();
  metrics
      ->add_option("--metric", a.metrics.metrics,
                   "loss, learning_rate, eval.validation.loss …; may be repeated (default: loss, "
                   "learning_rate, grad_norm, tokens_per_second, eval.*.loss)")
      ->type_name("METRIC")
      ->allow_extra_args(false);
  metrics
      ->add_option("--points", a.metrics.points,
                   "Maximum number of points per metric (default: 20 in a table, else 1000)")
      ->type_name("N")
      ->check(CLI::Range(1, 10000));
  metrics->add_option("--from-step", a.metrics.min_step, "Only from this step on")
      ->type_name("STEP")
      ->check(CLI::NonNegativeNumber);
  metrics->add_option("--to-step", a.metrics.max_step, "Only to this step")
      ->type_name("STEP")
      ->check(CLI::PositiveNumber);
  metrics
      ->add_option("--attempt", a.metrics.attempt,
                   "Only this attempt (default: each step from the newest attempt that has it)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000000));
  metrics->add_flag("--csv", a.metrics.csv, "Comma-separated values, with every digit");

  CLI::App* compare = AddCommand(
      app, "compare", "Print what differs between jobs, their final and best metric, and the best",
      a, [&a](const Context& context) { return RunCompare(a.compare, context); });
  compare->add_option("JOB", a.compare.jobs, absl::StrCat("Two or more: ", kJobHelp));
  compare->add_option("--group", a.compare.group, "The jobs with this label `group`")
      ->type_name("GROUP");
  compare
      ->add_option("--metric", a.compare.metric,
                   "Metric that says which is best (default: evaluation.best of the jobs, else "
                   "eval.validation.loss, else loss)")
      ->type_name("METRIC");
  compare
      ->add_option("--mode", a.compare.mode,
                   "Whether less or more is better (default: min for a loss, else max)")
      ->type_name("min|max")
      ->check(CLI::IsMember({"min", "max"}));
}

void AddUsage(CLI::App& app, Arguments& a) {
  CLI::App* usage = AddCommand(
      app, "usage", "Print the device time, waiting time and tokens of a job, or of all jobs", a,
      [&a](const Context& context) { return RunUsage(a.usage, context); });
  CLI::Option* job =
      usage->add_option("JOB", a.usage.job, absl::StrCat(kJobHelp, "; default: all jobs"));
  usage->add_option("--since", a.usage.since, "First day, UTC (default: from the beginning)")
      ->type_name("YYYY-MM-DD")
      ->excludes(job);
  usage->add_option("--until", a.usage.until, "Last day, UTC (default: today)")
      ->type_name("YYYY-MM-DD")
      ->excludes(job);
  usage->add_option("--by", a.usage.group_by, "One line per owner, per day or per label:KEY")
      ->type_name("GROUP")
      ->excludes(job);
  usage->add_option("--selector", a.usage.selector, "Only jobs whose labels match")
      ->type_name("SELECTOR")
      ->excludes(job);
}

void AddRunCommands(CLI::App& app, Arguments& a) {
  CLI::App* logs = AddCommand(app, "logs", "Print the output of a job's worker", a,
                              [&a](const Context& context) { return RunLogs(a.logs, context); });
  logs->add_option("JOB", a.logs.job, kJobHelp)->required();
  logs->add_flag(
      "-f,--follow", a.logs.follow,
      "Follow later attempts until the job has ended; with --attempt, -o json or -o yaml, until "
      "the attempt has ended");
  logs->add_option("--attempt", a.logs.attempt,
                   "Only this attempt (default: the newest, and with -f the attempts after it)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000000));
  logs->add_option("--tail", a.logs.tail, "Only the last N lines")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000000));
}

// Where a command takes a checkpoint.
CLI::App* AddCheckpointCommand(CLI::App& checkpoints, const char* name, const char* help,
                               std::string* checkpoint, Arguments& a,
                               std::function<int(const Context&)> run) {
  CLI::App* command = AddCommand(checkpoints, name, help, a, std::move(run));
  command->add_option("CHECKPOINT", *checkpoint, "JOB/checkpoints/ID")->required();
  return command;
}

void AddCheckpointCommands(CLI::App& app, Arguments& a) {
  CLI::App* checkpoints =
      app.add_subcommand("checkpoints", "Checkpoints: list, label, keep, verify");
  checkpoints->fallthrough()->require_subcommand(1);
  CLI::App* list =
      AddCommand(*checkpoints, "ls", "List checkpoints, newest first", a,
                 [&a](const Context& context) { return RunCheckpointsLs(a.checkpoints, context); });
  list->add_option("JOB", a.checkpoints.job, absl::StrCat(kJobHelp, " (default: all jobs)"));
  list->add_flag("--all", a.checkpoints.all, "Include deleted checkpoints");
  CLI::App* pull = AddCommand(
      *checkpoints, "pull",
      "Copy a checkpoint or a final model into a local folder; continues an interrupted copy", a,
      [&a](const Context& context) { return RunCheckpointsPull(a.pull, context); });
  pull->add_option("NAME", a.pull.name,
                   "JOB/checkpoints/ID, JOB/final, or JOB: its final model, else its resume point")
      ->required();
  pull->add_option("DIR", a.pull.folder, "Folder to create (default: named after the checkpoint)");
  AddCheckpointCommand(*checkpoints, "label", "Set or remove labels of a checkpoint",
                       &a.label.checkpoint, a,
                       [&a](const Context& c) { return RunCheckpointsLabel(a.label, c); })
      ->add_option("LABEL", a.label.labels, "KEY=VALUE to set, KEY- to remove")
      ->required();
  AddCheckpointCommand(*checkpoints, "pin", "Keep a checkpoint until it is unpinned", &a.checkpoint,
                       a,
                       [&a](const Context& c) { return RunCheckpointsPin(a.checkpoint, true, c); });
  AddCheckpointCommand(
      *checkpoints, "unpin", "Let retention decide about a checkpoint again", &a.checkpoint, a,
      [&a](const Context& c) { return RunCheckpointsPin(a.checkpoint, false, c); });
  AddCheckpointCommand(
      *checkpoints, "expire", "Set the time from which `gc` and retention may remove a checkpoint",
      &a.expire.checkpoint, a, [&a](const Context& c) { return RunCheckpointsExpire(a.expire, c); })
      ->add_option("WHEN", a.expire.when,
                   "now, never, a time from now such as 72h, or a time such as "
                   "2026-12-01T22:00:00Z (default: now)");
  AddCheckpointCommand(*checkpoints, "verify",
                       "Read every byte of a checkpoint back and compare it with its manifest",
                       &a.checkpoint, a,
                       [&a](const Context& c) { return RunCheckpointsVerify(a.checkpoint, c); });

  CLI::App* request =
      AddCommand(app, "checkpoint", "Request a checkpoint at the end of the current step", a,
                 [&a](const Context& c) { return RunCheckpoint(a.request_checkpoint, c); });
  request->add_option("JOB", a.request_checkpoint.job, kJobHelp)->required();
  request->add_option("--label", a.request_checkpoint.labels, "For the checkpoint; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  request->add_flag("--pin", a.request_checkpoint.pin, "Keep the checkpoint until it is unpinned");

  CLI::App* tree = AddCommand(app, "tree",
                              "Print the jobs that were made from checkpoints of others: the line "
                              "that leads to a job, and all that came from it",
                              a, [&a](const Context& c) { return RunTree(a.job, c); });
  tree->add_option("JOB", a.job, kJobHelp)->required();

  CLI::App* gc = AddCommand(app, "gc", "Remove what retention does not keep", a,
                            [&a](const Context& c) { return RunGc(a.gc, c); });
  gc->add_option("JOB", a.gc.job, absl::StrCat(kJobHelp, " (default: all jobs)"));
  gc->add_flag("--dry-run", a.gc.dry_run, "Only list what would be removed, and what is kept");
}

void AddEvaluationCommands(CLI::App& app, Arguments& a) {
  CLI::App* evaluations = AddCommand(
      app, "evaluations", "List remote evaluations, newest first", a, [&a](const Context& context) {
        return a.cancel.evaluations.empty() ? RunEvaluations(a.evaluations, context)
                                            : RunEvaluationsCancel(a.cancel, context);
      });
  evaluations->add_option("JOB", a.evaluations.job, absl::StrCat("Only of this job: ", kJobHelp));
  evaluations->add_option("--state", a.evaluations.states, "Only in this state; may be repeated")
      ->type_name("STATE")
      ->allow_extra_args(false);
  CLI::App* cancel = evaluations->add_subcommand("cancel", "End evaluations without a result");
  cancel->fallthrough();
  cancel->add_option("EVALUATION", a.cancel.evaluations, "jobs/ID/evaluations/EVALUATION")
      ->required();
  cancel->add_option("--reason", a.cancel.reason, "Text for the event")->type_name("TEXT");

  CLI::App* evaluate =
      AddCommand(app, "evaluate",
                 "Request an evaluation of a model; --worker: run a command for each requested one",
                 a, [&a](const Context& context) { return RunEvaluate(a.evaluate, context); });
  CLI::Option* model = evaluate->add_option(
      "JOB", a.evaluate.model,
      "JOB (its final model, else its newest checkpoint), JOB/checkpoints/ID, JOB/final or "
      "JOB/start (what it started from)");
  evaluate
      ->add_option("--suite", a.evaluate.suites,
                   "Kind of evaluator; with --worker it may be repeated")
      ->type_name("SUITE")
      ->allow_extra_args(false);
  CLI::Option* entry =
      evaluate
          ->add_option("--entry", a.evaluate.entry,
                       "Entry of evaluation.remote with suite, params and deadline; flags win")
          ->type_name("NAME");
  CLI::Option* param =
      evaluate->add_option("--param", a.evaluate.params, "For the evaluator; may be repeated")
          ->type_name("KEY=VALUE")
          ->allow_extra_args(false);
  CLI::Option* deadline = evaluate
                              ->add_option("--deadline", a.evaluate.deadline,
                                           "Longest time to the result, 1m to 720h (default 24h)")
                              ->type_name("TIME");
  CLI::Option* worker = evaluate->add_flag(
      "--worker", a.evaluate.worker,
      "Lease evaluations, run the command for each, and report the JSON object that it prints");
  worker->excludes(model)->excludes(entry)->excludes(param)->excludes(deadline);
  evaluate
      ->add_option("--command", a.evaluate.command,
                   "Shell command; {checkpoint} is the model's folder; also {params} (JSON), "
                   "{step}, {job}, {model}, {suite}, {evaluation}")
      ->type_name("COMMAND")
      ->needs(worker);
  evaluate
      ->add_option("--lease", a.evaluate.lease,
                   "How long a killed worker holds its evaluation, 10s to 1h (default 60s)")
      ->type_name("TIME")
      ->needs(worker);
  evaluate->add_flag("--once", a.evaluate.once, "Exit after one evaluation")->needs(worker);
}

void AddNotifications(CLI::App& app, Arguments& a) {
  CLI::App* list = app.add_subcommand(
      "notifications",
      "List what is to be delivered and what could not be, newest first; `retry` "
      "delivers a dead one again");
  list->fallthrough();
  list->require_subcommand(0, 1);
  list->add_option("--state", a.notifications.states,
                   "Only PENDING, DELIVERED or DEAD ones; may be repeated")
      ->type_name("STATE")
      ->allow_extra_args(false);
  // The callback of a command comes after that of its subcommand.
  list->callback([list, &a] {
    if (!list->get_subcommands().empty()) return;
    a.run = [&a](const Context& context) { return RunNotifications(a.notifications, context); };
  });
  CLI::App* retry = AddCommand(
      *list, "retry", "Deliver a DEAD notification again, for another 72 h", a,
      [&a](const Context& context) { return RunNotificationsRetry(a.notification, context); });
  retry->add_option("NUMBER", a.notification, "Number of the notification")->required();
}

void AddFileCommands(CLI::App& app, Arguments& a) {
  CLI::App* files = app.add_subcommand("files", "List the files that were sent with --upload");
  files->fallthrough()->require_subcommand(0, 1);
  // CLI11 runs the callback of the group after that of its command.
  files->callback([&a, files] {
    if (files->get_subcommands().empty()) a.run = RunFiles;
  });
  CLI::App* rm = AddCommand(*files, "rm", "Remove files that no unfinished job uses", a,
                            [&a](const Context& context) { return RunFilesRm(a.files, context); });
  rm->add_option("FILE", a.files, "One or more: files/SHA256, SHA256, or a unique beginning of it")
      ->required();
}

void AddControlCommands(CLI::App& app, Arguments& a) {
  CLI::App* pause =
      AddCommand(app, "pause", "Pause a job at the end of its step, with a checkpoint", a,
                 [&a](const Context& context) { return RunPause(a.pause, context); });
  pause->add_option("JOB", a.pause.job, kJobHelp)->required();
  pause->add_option("--reason", a.pause.reason, "Text for the event")->type_name("TEXT");
  pause->add_option("--grace", a.pause.grace, kGraceHelp)->type_name("TIME");

  CLI::App* resume =
      AddCommand(app, "resume", "Resume a paused job", a,
                 [&a](const Context& context) { return RunResume(a.resume, context); });
  resume->add_option("JOB", a.resume.job, kJobHelp)->required();
  resume
      ->add_option("--from-checkpoint", a.resume.from_checkpoint,
                   "Resume from this checkpoint of the job; those beyond it become superseded "
                   "(default: the newest verified one)")
      ->type_name("ID");

  CLI::App* update =
      AddCommand(app, "update", "Change keys of a job: those that `config reference` marks as live",
                 a, [&a](const Context& c) { return RunUpdate(a.update, c); });
  update->add_option("JOB", a.update.job, kJobHelp)->required();
  update
      ->add_option("KEY=VALUE", a.update.changes,
                   "For example priority=10, labels.team=blue or limits.max_run_time=2h; null sets "
                   "the default, or removes a label")
      ->required();
  update
      ->add_option("--etag", a.update.etag,
                   "Refuse the change if the job has another etag (`get -o json`)")
      ->type_name("ETAG");

  CLI::App* stop = AddCommand(app, "stop", "Stop a job with a final checkpoint", a,
                              [&a](const Context& context) { return RunStop(a.stop, context); });
  stop->add_option("JOB", a.stop.job, kJobHelp)->required();
  stop->add_option("--reason", a.stop.reason, "Text for the event")->type_name("TEXT");
  CLI::Option* grace = stop->add_option("--grace", a.stop.grace, kGraceHelp)->type_name("TIME");
  CLI::Option* discard = stop->add_flag("--discard", a.stop.discard, "Without a final checkpoint");
  stop->add_flag("--force", a.stop.force, "As --discard, and kill the worker after 2 s")
      ->excludes(discard)
      ->excludes(grace);

  CLI::App* rm = AddCommand(app, "rm", "Delete jobs that have ended, with their checkpoints", a,
                            [&a](const Context& context) { return RunRm(a.rm, context); });
  rm->add_option("JOB", a.rm, absl::StrCat("One or more: ", kJobHelp))->required();

  AddNotifications(app, a);

  CLI::App* config = app.add_subcommand("config", "Documentation of job files");
  config->fallthrough()->require_subcommand(1);
  AddCommand(*config, "reference", "Every key of a job file: type, unit, range, default, meaning",
             a, RunConfigReference);
  AddCommand(app, "version", "Versions of trainctl and of the daemon", a, RunVersion);
}

// The error for a word that is not a command, with the nearest command; "" if there is none.
std::string UnknownCommand(const CLI::App& app) {
  const CLI::App* level = &app;
  while (!level->get_subcommands().empty()) level = level->get_subcommands().front();
  std::vector<std::string> names;
  for (const CLI::App* command : level->get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  if (names.empty()) return "";
  const std::string group = level == &app ? "" : " " + level->get_name();
  for (const std::string& word : app.remaining(/*recurse=*/true)) {
    // A word after an unknown option may be the value of that option.
    if (word.empty() || word[0] == '-') return "";
    const std::string other = level == &app ? CommandFor(word) : "";
    const std::string nearest = NearestWord(word, names);
    std::string advice;
    if (!other.empty()) {
      advice = absl::StrCat("; use ", other);
    } else if (!nearest.empty()) {
      advice = absl::StrCat("; did you mean \"", nearest, "\"?");
    }
    return absl::StrCat("trainctl", group, ": unknown command \"", PlainText(word), "\"", advice,
                        "\n`trainctl", group, " --help` lists the commands.\n");
  }
  return "";
}

// Prints help, or the error; a document with -o json.
int ReportParseError(const CLI::App& app, const CLI::ParseError& error, const Environment& env) {
  const bool required = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  std::string text = required ? UnknownCommand(app) : "";
  if (text.empty()) {
    std::ostringstream err;
    if (app.exit(error, *env.out, err) == 0) return kDone;
    text = absl::StrCat("trainctl: ", err.str());
  }
  const std::vector<std::string> forms = app.get_option("--output")->results();
  if (!forms.empty() && (forms.back() == "json" || forms.back() == "jsonl")) {
    absl::string_view message = absl::StripTrailingAsciiWhitespace(text);
    absl::ConsumePrefix(&message, "trainctl: ");
    return PrintUsageError(std::string(message),
                           Context{.env = env, .address = {}, .form = OutputForm::kJson});
  }
  *env.err << text;
  return kUsage;
}

}  // namespace

int RunTrainctl(const std::vector<std::string>& arguments, const Environment& env) {
  Arguments parsed;
  CLI::App app("trainctl controls trainerd, the daemon that fine-tunes language models.",
               "trainctl");
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done (a waited-for job succeeded), 1 the job failed, 2 usage or invalid "
      "configuration, 3 stopped or cancelled,\n"
      "4 timeout, 5 cannot reach the daemon, 6 any other refusal. Of several jobs the worst "
      "counts: "
      "2, 5, 6, 1, 4, 3, 0.");
  app.set_version_flag("--version", absl::StrCat("trainctl ", TRAINERD_VERSION));
  AddGlobalOptions(app, parsed);
  AddSubmit(app, parsed);
  AddDataCommands(app, parsed);
  AddReadingCommands(app, parsed);
  AddHistoryCommands(app, parsed);
  AddUsage(app, parsed);
  AddRunCommands(app, parsed);
  AddEvaluationCommands(app, parsed);
  AddFileCommands(app, parsed);
  AddCheckpointCommands(app, parsed);
  AddControlCommands(app, parsed);
  try {
    // CLI11 reads the arguments from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return ReportParseError(app, error, env);
  }
  const int code = parsed.run(Context{.env = env, .address = parsed.address, .form = parsed.form});
  env.out->flush();
  if (env.out->good()) return code;
  *env.err << "trainctl: cannot write the output; the disk is probably full" << std::endl;
  return code == kDone ? kRefused : code;
}

}  // namespace trainerd::client
