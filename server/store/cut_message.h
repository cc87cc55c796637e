// SPDX-License-Identifier: Apache-2.0
// Keeps what a worker wrote within the sizes that the head of trainer.proto states.
#pragma once

#include <cstddef>

#include "google/protobuf/message.h"

namespace trainerd::server {

inline constexpr size_t kMaxEventBytes = size_t{256} << 10;

// Shortens the texts and lists of `message` as far as necessary for a serialized size of at most
// `max_bytes`, the longest ones first. A text that was cut ends with a mark that names its original
// size; a list of texts ends with the number of those that were omitted. No change to a message
// that is small enough.
void CutMessage(size_t max_bytes, google::protobuf::Message* message);

}  // namespace trainerd::server
