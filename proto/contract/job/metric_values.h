// SPDX-License-Identifier: Apache-2.0
// The metrics of an event by their names (head of trainer.proto): loss, learning_rates.muon,
// preference.margin, eval.validation.loss, …
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"

namespace trainerd {

struct MetricValue {
  std::string name;
  double value = 0;
};

// The values of a metrics or an eval event, in the order of their fields; empty for other events.
// What says which step it is (step, total_steps, merged) is no metric.
std::vector<MetricValue> MetricValues(const v1::Event& event);

// The step that they belong to; 0 for other events.
int64_t MetricStep(const v1::Event& event);

// Whether smaller values of this metric are better: losses.
bool IsLoss(const std::string& metric);

}  // namespace trainerd
