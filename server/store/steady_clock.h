// SPDX-License-Identifier: Apache-2.0
// The clock of deadlines and delays that the database holds. It begins with the system's time when
// the database is first opened after the machine has started, and then follows the monotonic clock,
// also over restarts of the daemon. So no change of the system's clock moves a deadline. After a
// restart of the machine a deadline means what the system's clock says; the caller limits it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

class SteadyClock {
 public:
  // Continues the clock of this boot, or begins a new one at `system_now` and stores it, unless the
  // disk is full. Errors: of the database.
  static absl::StatusOr<SteadyClock> Open(Connection& db, const std::string& boot_id,
                                          absl::Time system_now);
  absl::Time Now() const;

 private:
  explicit SteadyClock(absl::Duration offset) : offset_(offset) {}

  // From the monotonic clock to this one.
  absl::Duration offset_;
};

}  // namespace trainerd::server
