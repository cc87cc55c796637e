// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/run_dir/control_socket.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>

#include "proto/base/atomic_file.h"

namespace trainerd {

absl::StatusOr<ControlSocketAddress> ControlSocketAddress::Of(const std::string& attempt_dir) {
  ControlSocketAddress result{.attempt_dir =
                                  Fd(open(attempt_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC))};
  if (!result.attempt_dir.is_open()) return ErrnoStatus(errno, "open " + attempt_dir);
  result.address.sun_family = AF_UNIX;
  // A socket address holds 107 bytes and a path can be longer, so the address goes through the
  // directory's descriptor.
  std::snprintf(result.address.sun_path, sizeof(result.address.sun_path), "/proc/self/fd/%d/%s",
                result.attempt_dir.get(), kControlSocketName);
  return result;
}

}  // namespace trainerd
