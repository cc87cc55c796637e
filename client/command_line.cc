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
#include "client/cli/arguments.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/foreign_commands.h"
#include "client/shell/command_tree.h"
#include "client/shell/completion.h"
#include "client/shell/man_page.h"
#include "proto/base/plain_text.h"
#include "proto/contract/config/advice/nearest_word.h"
#include "proto/contract/job_file/config_reference.h"

namespace trainerd::client {
namespace {

void AddGlobalOptions(CLI::App& app, Arguments& arguments) {
  app.add_option("--address", arguments.address.flag,
                 "Daemon: unix:PATH, HOST:PORT or tls:HOST:PORT (default: TRAINERD_ADDRESS, else "
                 "the default state directory's socket)");
  app.add_option("--token-file", arguments.address.token_flag,
                 "File with a token (default: TRAINERD_TOKEN_FILE, else for HOST:PORT the file "
                 "token in the default state directory)");
  app.add_option(
      "--ca-file", arguments.address.ca_flag,
      "For tls: PEM file of the authority that signed the daemon's certificate (default: "
      "TRAINERD_CA_FILE, else the authorities of this system)");
  app.add_option("--cert-file", arguments.address.certificate_flag,
                 "For tls: PEM file of a client certificate (default: TRAINERD_CERT_FILE)");
  app.add_option("--key-file", arguments.address.key_flag,
                 "For tls: PEM file of its private key (default: TRAINERD_KEY_FILE)");
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

void AddCompletion(CLI::App& app, Arguments& a) {
  CLI::App* completion = AddCommand(app, "completion",
                                    "Print the completion script of a shell, for example: source "
                                    "<(trainctl completion bash)",
                                    a, [&a, &app](const Context& context) {
                                      context.out()
                                          << *CompletionScript(ReadCommandTree(app), a.shell);
                                      return kDone;
                                    });
  completion->add_option("SHELL", a.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

// The commands that scripts and the build call, and that no list of commands shows:
// `__complete WORD…` and `__man PAGE`.
int RunHidden(const CLI::App& app, const std::vector<std::string>& arguments,
              const Environment& env) {
  const std::vector<std::string> words(arguments.begin() + 1, arguments.end());
  const CommandTree tree = ReadCommandTree(app);
  if (arguments[0] == "__complete") {
    const Completion completion = Complete(tree, words);
    for (const auto& [word, help] : completion.words) *env.out << word << "\t" << help << "\n";
    const Context context{.env = env,
                          .address = {.flag = ValueOf("--address", words),
                                      .token_flag = ValueOf("--token-file", words)}};
    if (completion.jobs) PrintJobsForCompletion(words.back(), context);
    if (completion.files) *env.out << ":files\n";
    env.out->flush();
    return kDone;
  }
  const ManPage page{.version = TRAINERD_VERSION, .footer = app.get_footer()};
  const std::string name = words.empty() ? "" : words[0];
  if (name == "trainctl.1") {
    *env.out << TrainctlPage(tree, page);
  } else if (name == "trainerd.yaml.5") {
    *env.out << SettingsPage(DaemonSettingsReference(), page);
  } else {
    *env.err << "trainctl __man: the pages are trainctl.1 and trainerd.yaml.5\n";
    return kUsage;
  }
  env.out->flush();
  return env.out->good() ? kDone : kRefused;
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
  AddAccessCommands(app, parsed);
  AddCheckpointCommands(app, parsed);
  AddDaemonCommands(app, parsed);
  AddControlCommands(app, parsed);
  AddCompletion(app, parsed);
  if (!arguments.empty() && (arguments[0] == "__complete" || arguments[0] == "__man"))
    return RunHidden(app, arguments, env);
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
