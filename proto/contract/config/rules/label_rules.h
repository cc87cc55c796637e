// SPDX-License-Identifier: Apache-2.0
// What the labels of a job or of a checkpoint may be.
#pragma once

#include <vector>

#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/label_selector.h"

namespace trainerd {

// Appends a violation for too many labels, and for each key or value that is too long or holds
// other characters.
void CheckLabels(const LabelMap& labels, std::vector<ConfigViolation>* violations);

}  // namespace trainerd
