// SPDX-License-Identifier: Apache-2.0
// attempts/N/control.sock, at which the shim listens and to which the daemon connects.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "absl/status/statusor.h"
#include "proto/base/fd.h"

namespace trainerd {

constexpr char kControlSocketName[] = "control.sock";

// For bind(2) or connect(2), which the path itself may be too long for. Valid as long as it lives.
struct ControlSocketAddress {
  Fd attempt_dir;
  sockaddr_un address{};

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }

  // Errors: those of open(2) with the path of the directory.
  static absl::StatusOr<ControlSocketAddress> Of(const std::string& attempt_dir);
};

}  // namespace trainerd
