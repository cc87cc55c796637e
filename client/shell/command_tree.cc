// SPDX-License-Identifier: Apache-2.0
#include "client/shell/command_tree.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace trainerd::client {
namespace {

// CLI11 appends the choices of a checked option to its type: "FORM:{table,wide,json}".
std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t begin = type.rfind('{');
  if (begin == std::string::npos || type.back() != '}') return {};
  return absl::StrSplit(type.substr(begin + 1, type.size() - begin - 2), ',');
}

CommandFlag ReadFlag(const CLI::Option& option) {
  CommandFlag flag;
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  if (option.get_items_expected_max() > 0) {
    flag.value = option.get_type_name();
    flag.value = flag.value.substr(0, flag.value.find(':'));
  }
  flag.choices = ChoicesOf(option);
  flag.help = option.get_description();
  return flag;
}

}  // namespace

CommandTree ReadCommandTree(const CLI::App& app) {
  CommandTree tree{.name = app.get_name(), .help = app.get_description()};
  for (const CLI::Option* option : app.get_options()) {
    if (!option->nonpositional()) {
      tree.arguments.push_back({.name = option->get_name(/*positional=*/true),
                                .required = option->get_required(),
                                .repeated = option->get_items_expected_max() > 1,
                                .help = option->get_description()});
    } else {
      tree.flags.push_back(ReadFlag(*option));
    }
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    tree.commands.push_back(ReadCommandTree(*command));
  return tree;
}

}  // namespace trainerd::client
