// SPDX-License-Identifier: Apache-2.0
// The query of the audit log.
#pragma once

#include "absl/status/statusor.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(
    Store& store, const v1::ListAuditEntriesRequest& request);

}  // namespace trainerd::server
