// SPDX-License-Identifier: Apache-2.0
// The outbox as clients see it. No gRPC here.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/caller.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

absl::StatusOr<v1::ListNotificationsResponse> ListNotifications(
    Store& store, const v1::ListNotificationsRequest& request);

// Makes a DEAD notification PENDING again. `wake` is called once that is durable. Errors: NotFound;
// FailedPrecondition with reason NOT_DEAD.
absl::StatusOr<v1::Notification> RetryNotification(Store& store,
                                                   const v1::RetryNotificationRequest& request,
                                                   const Caller& caller,
                                                   const std::function<void()>& wake);

}  // namespace trainerd::server
