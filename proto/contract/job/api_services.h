// SPDX-License-Identifier: Apache-2.0
// The services of the public API, over all files that declare one.
#pragma once

#include <vector>

#include "google/protobuf/descriptor.h"

namespace trainerd {

// In the order of the files, those of trainer.proto first.
std::vector<const google::protobuf::ServiceDescriptor*> ApiServices();

}  // namespace trainerd
