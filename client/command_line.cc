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
#include "proto/contract/config/nearest_word.h"

namespace trainerd::client {
namespace {

constexpr char kJobHelp[] =
    "jobs/ID, ID, a unique prefix of an ID, a unique display name, or latest";
constexpr char kSetHelp[] =
    "Override a key of the job file, for example train.max_steps=20; may be repeated; relative "
    "paths start from the folder of the job file";

// All options; `run` executes the selected command.
struct Arguments {
  AddressChoice address;
  OutputForm form = OutputForm::kTable;
  SubmitOptions submit;
  LsOptions ls;
  std::string job;
  std::vector<std::string> rm;
  WatchCommandOptions watch;
  ControlOptions pause;
  UpdateOptions update;
  StopOptions stop;
  LogsOptions logs;
  CheckpointsLsOptions checkpoints;
  WaitOptions wait;
  ValidateOptions validate;
  PreviewOptions preview;
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

  CLI::App* checkpoints = app.add_subcommand("checkpoints", "Checkpoints of a job");
  checkpoints->fallthrough()->require_subcommand(1);
  CLI::App* list =
      AddCommand(*checkpoints, "ls", "List checkpoints, newest first", a,
                 [&a](const Context& context) { return RunCheckpointsLs(a.checkpoints, context); });
  list->add_option("JOB", a.checkpoints.job, kJobHelp)->required();
  list->add_flag("--all", a.checkpoints.all, "Include deleted checkpoints");
}

void AddControlCommands(CLI::App& app, Arguments& a) {
  CLI::App* pause =
      AddCommand(app, "pause", "Pause a job at the end of its step, with a checkpoint", a,
                 [&a](const Context& context) { return RunPause(a.pause, context); });
  pause->add_option("JOB", a.pause.job, kJobHelp)->required();
  pause->add_option("--reason", a.pause.reason, "Text for the event")->type_name("TEXT");

  CLI::App* resume = AddCommand(app, "resume", "Resume a paused job", a,
                                [&a](const Context& context) { return RunResume(a.job, context); });
  resume->add_option("JOB", a.job, kJobHelp)->required();

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
  CLI::Option* discard = stop->add_flag("--discard", a.stop.discard, "Without a final checkpoint");
  stop->add_flag("--force", a.stop.force, "As --discard, and kill the worker after 2 s")
      ->excludes(discard);

  CLI::App* rm = AddCommand(app, "rm", "Delete jobs that have ended, with their checkpoints", a,
                            [&a](const Context& context) { return RunRm(a.rm, context); });
  rm->add_option("JOB", a.rm, absl::StrCat("One or more: ", kJobHelp))->required();

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
  AddRunCommands(app, parsed);
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
