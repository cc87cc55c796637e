// SPDX-License-Identifier: Apache-2.0
// ListEvents: pages of the event log.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

absl::StatusOr<v1::ListEventsResponse> ListEvents(Store& store,
                                                  const v1::ListEventsRequest& request);

// The field event_types: bit n = field n of Event.body; 0 = all. Errors: InvalidArgument with the
// nearest type.
absl::StatusOr<uint64_t> EventTypeBits(
    const google::protobuf::RepeatedPtrField<std::string>& event_types);

}  // namespace trainerd::server
