// SPDX-License-Identifier: Apache-2.0
// The commands of trainctl as data, read from the parser of command_line.cc, so that shell
// completion and the manual page follow from what is written there.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace trainerd::client {

struct CommandFlag {
  // "-o", "--output"
  std::vector<std::string> names;
  // "FORM"; empty: the flag takes no value.
  std::string value;
  std::vector<std::string> choices;
  std::string help;
};

struct CommandArgument {
  // "JOB"
  std::string name;
  bool required = false;
  // Takes all further words.
  bool repeated = false;
  std::string help;
};

struct CommandTree {
  std::string name;
  std::string help;
  std::vector<CommandFlag> flags;
  std::vector<CommandArgument> arguments;
  std::vector<CommandTree> commands;
};

CommandTree ReadCommandTree(const CLI::App& app);

}  // namespace trainerd::client
