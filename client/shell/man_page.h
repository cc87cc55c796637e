// SPDX-License-Identifier: Apache-2.0
// Manual pages in roff: trainctl(1) out of the command tree, and a page around the reference of
// trainerd.yaml(5).
#pragma once

#include <string>

#include "client/shell/command_tree.h"

namespace trainerd::client {

// `text` as roff that prints as it is: no part of it is a request or an escape.
std::string RoffText(const std::string& text);

struct ManPage {
  std::string version;
  // Exit codes, environment variables and so on, below the commands.
  std::string footer;
};
// trainctl(1): every command with its arguments and flags.
std::string TrainctlPage(const CommandTree& tree, const ManPage& page);
// trainerd.yaml(5): `reference` is the printed reference of the settings.
std::string SettingsPage(const std::string& reference, const ManPage& page);

}  // namespace trainerd::client
