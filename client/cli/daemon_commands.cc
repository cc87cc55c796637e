// SPDX-License-Identifier: Apache-2.0
// Commands about what the daemon keeps besides jobs, and about the daemon.
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/arguments.h"

namespace trainerd::client {
namespace {

// Where a command takes a checkpoint.
CLI::App* AddCheckpointCommand(CLI::App& checkpoints, const char* name, const char* help,
                               std::string* checkpoint, Arguments& a,
                               std::function<int(const Context&)> run) {
  CLI::App* command = AddCommand(checkpoints, name, help, a, std::move(run));
  command->add_option("CHECKPOINT", *checkpoint, "JOB/checkpoints/ID")->required();
  return command;
}

}  // namespace

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

void AddAccessCommands(CLI::App& app, Arguments& a) {
  CLI::App* token = app.add_subcommand("token", "Bearer tokens: create, ls, revoke");
  token->fallthrough()->require_subcommand(1);
  CLI::App* create = AddCommand(
      *token, "create", "Create a token; prints its secret, which the daemon does not store", a,
      [&a](const Context& context) { return RunTokenCreate(a.token_create, context); });
  create->add_option("PRINCIPAL", a.token_create.principal, "Owner of what is created with it")
      ->required();
  create->add_option("--role", a.token_create.role, "viewer | operator | admin (default: viewer)")
      ->type_name("ROLE");
  create->add_option("--ttl", a.token_create.ttl, "1m to 87600h, or never (default: 2160h)")
      ->type_name("TIME");
  AddCommand(*token, "ls", "List tokens, newest first", a, RunTokenLs);
  CLI::App* revoke =
      AddCommand(*token, "revoke", "Revoke a token: it is refused from now on", a,
                 [&a](const Context& context) { return RunTokenRevoke(a.token, context); });
  revoke->add_option("TOKEN", a.token, "Name of the token, as `token ls` prints it")->required();

  CLI::App* audit = app.add_subcommand("audit", "The audit log: ls, verify");
  audit->fallthrough()->require_subcommand(1);
  CLI::App* ls =
      AddCommand(*audit, "ls", "List who changed what, and which calls were refused, oldest first",
                 a, [&a](const Context& context) { return RunAuditLs(a.audit, context); });
  ls->add_option("--principal", a.audit.principal, "Only calls of this principal")
      ->type_name("NAME");
  ls->add_option("--resource", a.audit.resource, "Only of jobs/JOB, for example, and what is below")
      ->type_name("NAME");
  AddCommand(*audit, "verify", "Verify the hash chain of the audit log", a, RunAuditVerify);
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

void AddDaemonCommands(CLI::App& app, Arguments& a) {
  CLI::App* drain = AddCommand(
      app, "drain", "Start no attempt until `undrain` or a restart of the daemon; jobs wait", a,
      [&a](const Context& context) { return RunDrain(a.drain, context); });
  CLI::Option* pause =
      drain->add_flag("--pause-running", a.drain.pause_running,
                      "Let running jobs write a checkpoint and return them to the queue");
  drain
      ->add_option("--deadline", a.drain.deadline,
                   "Longest time to the end of the attempts: 30s, 5m, 2h … (default: "
                   "limits.stop_grace of each job)")
      ->type_name("TIME")
      ->needs(pause);
  drain->add_flag("--wait", a.drain.wait, "Return when no attempt runs");
  AddCommand(app, "doctor",
             "Check versions, programs, devices, disk, permissions, clock and limits; exit code 1 "
             "if something needs action",
             a, RunDoctor);
  AddCommand(app, "undrain", "End a drain: jobs start again", a, RunUndrain);
}

}  // namespace trainerd::client
