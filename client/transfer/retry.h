// SPDX-License-Identifier: Apache-2.0
// How long a transfer continues over lost connections: as long as bytes arrive now and then.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/net/connection.h"

namespace trainerd::client {

class TransferRetry {
 public:
  // `is_interrupted`: null = never.
  TransferRetry(Connection& connection, std::function<bool()> is_interrupted);

  // Bytes arrived.
  void Progressed();
  // Connects again after `why` ended a call, so that the caller can continue. Errors: `why`, if no
  // byte arrived for a minute or the daemon refused the call; Cancelled.
  absl::Status Continue(const absl::Status& why);
  // Errors: Cancelled once the user has interrupted the transfer.
  absl::Status CheckInterrupt() const;

 private:
  Connection& connection_;
  const std::function<bool()> is_interrupted_;
  absl::Time last_progress_;
  absl::Duration pause_;
};

}  // namespace trainerd::client
