// SPDX-License-Identifier: Apache-2.0
#include "engine/data/warm_up.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/data/quick_report.h"
#include "proto/base/format.h"

namespace trainerd::engine {

absl::Status CheckWarmUp(const v1::JobConfig& config, int64_t total_steps) {
  const int64_t warm_up = config.schedule().warmup_steps();
  const int64_t decay = config.schedule().decay_steps();
  if (config.train().max_steps() > 0) return absl::OkStatus();
  const std::string epochs = absl::StrCat(Counted(total_steps, "step"), " that train.epochs ",
                                          config.train().epochs(), " gives; lower ");
  if (warm_up > 0 && warm_up >= total_steps) {
    return absl::InvalidArgumentError(
        absl::StrCat("schedule.warmup_steps: ", Counted(warm_up, "step"),
                     " of warm-up do not end before the ", epochs, "it or raise train.epochs"));
  }
  if (warm_up + decay > total_steps) {
    return absl::InvalidArgumentError(absl::StrCat(
        "schedule.decay_steps: ", Counted(decay, "step"), " of decay and ", warm_up,
        " of warm-up do not fit into the ", epochs, "one of them or raise train.epochs"));
  }
  return absl::OkStatus();
}

absl::Status CheckWarmUpQuickly(const v1::JobConfig& config, const v1::DataReport& quick) {
  const std::optional<int64_t> steps = QuickStepsAtMost(config, quick);
  return steps.has_value() ? CheckWarmUp(config, *steps) : absl::OkStatus();
}

}  // namespace trainerd::engine
