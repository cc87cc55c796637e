// SPDX-License-Identifier: Apache-2.0
// Checkpoint.metrics: what was measured of a checkpoint's step.
#pragma once

#include <string_view>
#include <vector>

#include "trainerd/v1/checkpoint.pb.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// The metrics of an event (contract/job/metric_values.h).
std::vector<v1::Measurement> MeasurementsOf(const v1::Event& event);

// Adds the measurements; one of the same name replaces the older one. Beyond 512, further
// names are dropped.
void MergeMeasurements(const std::vector<v1::Measurement>& newer, v1::Checkpoint* checkpoint);

// Null if the checkpoint has none of this name.
const v1::Measurement* FindMeasurement(const v1::Checkpoint& checkpoint, std::string_view name);

}  // namespace trainerd::server
