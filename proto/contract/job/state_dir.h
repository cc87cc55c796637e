// SPDX-License-Identifier: Apache-2.0
// Where the daemon keeps what a client needs to reach it, and its jobs.
#pragma once

#include <string>

namespace trainerd {

// Files in the state directory.
inline constexpr char kSocketName[] = "trainerd.sock";
inline constexpr char kTokenName[] = "token";
// The folder of the run directories.
inline constexpr char kRunsName[] = "runs";

// The state directory of a daemon that is given none. The arguments are the values of
// XDG_STATE_HOME and HOME: $XDG_STATE_HOME/trainerd, else $HOME/.local/state/trainerd.
inline std::string DefaultStateDir(const std::string& xdg_state_home, const std::string& home) {
  return xdg_state_home.empty() ? home + "/.local/state/trainerd" : xdg_state_home + "/trainerd";
}

}  // namespace trainerd
