// SPDX-License-Identifier: Apache-2.0
// What trainctl takes from the process around it: streams, terminal, environment variables. Only
// main.cc fills it from the real process; tests fill it with strings. Exit codes are part of the
// stable command line.
#pragma once

#include <functional>
#include <ostream>
#include <string>

namespace trainerd::client {

enum ExitCode : int {
  kDone = 0,  // and a waited-for job succeeded
  kJobFailed = 1,
  kUsage = 2,       // usage or invalid configuration
  kJobStopped = 3,  // stopped or cancelled
  kTimeout = 4,
  kUnreachable = 5,    // no daemon answers at the address
  kRefused = 6,        // any other refusal
  kInterrupted = 130,  // Ctrl-C, as shells report it
};

struct TerminalSize {
  int columns = 80;
  int rows = 24;
};

struct Environment {
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  bool out_is_terminal = false;
  bool color = false;  // the terminal shows colours and the user did not switch them off
  bool utf8 = true;    // the terminal shows characters beyond ASCII
  std::function<TerminalSize()> terminal_size = [] { return TerminalSize{}; };
  std::string address;       // TRAINERD_ADDRESS, empty = not set
  std::string token_file;    // TRAINERD_TOKEN_FILE, empty = not set
  std::string state_dir;     // the default state directory of this user
  std::string inspect_path;  // trainerd-inspect: TRAINERD_INSPECT, else beside trainctl
  std::string working_dir;   // what relative paths on the command line start from
};

}  // namespace trainerd::client
