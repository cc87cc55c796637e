// SPDX-License-Identifier: Apache-2.0
#include "client/cli/arguments.h"

#include <utility>

namespace trainerd::client {

CLI::App* AddCommand(CLI::App& app, const char* name, const char* help, Arguments& arguments,
                     std::function<int(const Context&)> run) {
  CLI::App* command = app.add_subcommand(name, help);
  command->fallthrough();
  command->callback([&arguments, run = std::move(run)] { arguments.run = run; });
  return command;
}

}  // namespace trainerd::client
