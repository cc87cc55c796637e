// SPDX-License-Identifier: Apache-2.0
// What trainerd-notify does: reads deliveries from a socket, makes each on a thread of its own, and
// writes their results.
#pragma once

#include <functional>
#include <string>

#include "trainerd/internal/notify.pb.h"

namespace trainerd::server {

// Makes one delivery: reads the secret and posts the webhook, or runs the command. Returns what
// went wrong; empty = delivered. Thread-safe.
std::string Deliver(const internal::Delivery& delivery);

// Returns the exit code once the socket `fd` is closed: 0; 1 for something that is no delivery.
// Deliveries may still be in progress then; they end with the process.
using DeliverFunction = std::function<std::string(const internal::Delivery&)>;
int RunDeliveries(int fd, const DeliverFunction& deliver);

}  // namespace trainerd::server
