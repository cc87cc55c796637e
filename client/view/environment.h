// SPDX-License-Identifier: Apache-2.0
// Streams, terminal and environment variables of the process. Only main.cc fills it from the real
// process. Exit codes are part of the stable command line.
#pragma once

#include <functional>
#include <ostream>
#include <string>

namespace trainerd::client {

enum ExitCode : int {
  // And a job that was waited for succeeded.
  kDone = 0,
  kJobFailed = 1,
  // Of `doctor`.
  kProblemFound = 1,
  // Usage or invalid configuration.
  kUsage = 2,
  // The job was stopped or cancelled.
  kJobStopped = 3,
  kTimeout = 4,
  // No daemon answers at the address.
  kUnreachable = 5,
  // Any other refusal.
  kRefused = 6,
  // Ctrl-C, as shells report it.
  kInterrupted = 130,
};

struct TerminalSize {
  int columns = 80;
  int rows = 24;
};

struct Environment {
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  bool out_is_terminal = false;
  // The terminal supports colors, and NO_COLOR is not set.
  bool color = false;
  // The terminal shows characters beyond ASCII.
  bool utf8 = true;
  std::function<TerminalSize()> terminal_size = [] { return TerminalSize{}; };
  // TRAINERD_ADDRESS, TRAINERD_TOKEN_FILE, TRAINERD_CA_FILE, TRAINERD_CERT_FILE and
  // TRAINERD_KEY_FILE; empty = not set.
  std::string address;
  std::string token_file;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  // The default state directory of this user.
  std::string state_dir;
  // trainerd-inspect: TRAINERD_INSPECT, else beside trainctl.
  std::string inspect_path;
  // Where this trainctl is.
  std::string programs_dir;
  // Relative paths of the command line start here.
  std::string working_dir;
  // HOME: ~/ in the paths of a job file.
  std::string home_dir;
};

}  // namespace trainerd::client
