// SPDX-License-Identifier: Apache-2.0
// trainctl: reads streams, terminal and environment variables from the process; the rest is in
// command_line.cc.
#include <sys/ioctl.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "client/command_line.h"
#include "client/view/environment.h"
#include "proto/contract/job/state_dir.h"

namespace trainerd::client {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string BesideThisProgram(const char* name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? name : (self.parent_path() / name).string();
}

bool IsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = Variable(name);
    if (value.empty()) continue;
    return value.find("UTF-8") != std::string::npos || value.find("utf8") != std::string::npos ||
           value.find("UTF8") != std::string::npos;
  }
  return false;
}

TerminalSize SizeOfTerminal() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return {};
  return {.columns = size.ws_col, .rows = size.ws_row};
}

Environment FromProcess() {
  Environment env;
  env.out = &std::cout;
  env.err = &std::cerr;
  const std::string terminal = Variable("TERM");
  env.out_is_terminal = isatty(STDOUT_FILENO) != 0 && terminal != "dumb";
  env.color = env.out_is_terminal && Variable("NO_COLOR").empty();
  env.utf8 = IsUtf8();
  env.terminal_size = SizeOfTerminal;
  env.address = Variable("TRAINERD_ADDRESS");
  env.token_file = Variable("TRAINERD_TOKEN_FILE");
  env.ca_file = Variable("TRAINERD_CA_FILE");
  env.certificate_file = Variable("TRAINERD_CERT_FILE");
  env.key_file = Variable("TRAINERD_KEY_FILE");
  env.state_dir = DefaultStateDir(Variable("XDG_STATE_HOME"), Variable("HOME"));
  env.inspect_path = Variable("TRAINERD_INSPECT");
  if (env.inspect_path.empty()) env.inspect_path = BesideThisProgram("trainerd-inspect");
  env.programs_dir = std::filesystem::path(BesideThisProgram("trainctl")).parent_path().string();
  std::error_code error;
  env.working_dir = std::filesystem::current_path(error).string();
  env.home_dir = Variable("HOME");
  return env;
}

}  // namespace
}  // namespace trainerd::client

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  return trainerd::client::RunTrainctl(std::vector<std::string>(argv + 1, argv + argc),
                                       trainerd::client::FromProcess());
}
