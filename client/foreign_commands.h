// SPDX-License-Identifier: Apache-2.0
// What the commands of other tools (docker, kubectl, Slurm, systemctl, the trainers) are called in
// trainctl. Add a word to the table in foreign_commands.cc, and the message follows.
#pragma once

#include <string>
#include <string_view>

namespace trainerd::client {

// "trainctl ls" for list, "trainctl stop JOB" for cancel …; "" for a word that no row has.
std::string CommandFor(std::string_view word);

}  // namespace trainerd::client
