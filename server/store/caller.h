// SPDX-License-Identifier: Apache-2.0
// Who made a call, for the record: the owner of what it creates, and its audit entry. What a caller
// may do is checked before (api/access).
#pragma once

#include <string>
#include <utility>

#include "server/store/daemon_user.h"

namespace trainerd::server {

struct Caller {
  // The daemon's own user, at this address.
  Caller(std::string peer_address) : principal(DaemonUser()), peer(std::move(peer_address)) {}
  Caller(const char* peer_address) : Caller(std::string(peer_address)) {}
  Caller(std::string name, std::string peer_address)
      : principal(std::move(name)), peer(std::move(peer_address)) {}

  std::string principal;
  // "unix:uid=1000", "192.0.2.7:4711", or kInboxPeer.
  std::string peer;
};

}  // namespace trainerd::server
