// SPDX-License-Identifier: Apache-2.0
// Commands about jobs.
#include "absl/strings/str_cat.h"
#include "client/cli/arguments.h"

namespace trainerd::client {
namespace {

constexpr char kSelectorHelp[] =
    "Only jobs whose labels match: team=blue, team!=blue, team in (blue, red), team notin (blue), "
    "team, !team; separated by commas";
constexpr char kGraceHelp[] =
    "Longest time to the end of the attempt: 30s, 5m, 2h … (default: limits.stop_grace of the job)";
constexpr char kSetHelp[] =
    "Override a key of the job file, for example train.max_steps=20; may be repeated; relative "
    "paths start from the folder of the job file";

}  // namespace

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
  AddCommand(app, "health", "Whether the daemon serves; needs no credentials", a, RunHealth);
}

}  // namespace trainerd::client
