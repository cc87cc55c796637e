// SPDX-License-Identifier: Apache-2.0
// Why a TLS connection to the daemon fails. The gRPC library reports "certificate verify failed" or
// "Socket closed" for all causes, so the handshake is made once more with OpenSSL, which has a code
// for each.
#pragma once

#include <string>

#include "client/net/address.h"

namespace trainerd::client {

// A sentence with what to change: authority, certificate, key, name or address. Empty: the
// handshake succeeds, or nobody listens. Takes at most a few seconds.
std::string TlsProblem(const Address& address);

}  // namespace trainerd::client
