// SPDX-License-Identifier: Apache-2.0
// The user as whom this daemon runs, as a principal: it owns what its callers create, whom the
// daemon does not distinguish.
#pragma once

#include <string>

namespace trainerd::server {

// A name of 1 to 64 characters A-Z a-z 0-9 . _ @ -: the user's name, other characters replaced by
// "_", or "uid-N" if the system knows none.
const std::string& DaemonUser();

// The user name as a principal. Pure.
std::string PrincipalOf(const std::string& user_name, unsigned uid);

}  // namespace trainerd::server
