// SPDX-License-Identifier: Apache-2.0
#include "engine/data/warm_up.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/data/quick_report.h"

namespace trainerd::engine {

absl::Status CheckWarmUp(const v1::JobConfig& config, int64_t total_steps) {
  const int64_t warm_up = config.schedule().warmup_steps();
  if (warm_up == 0 || warm_up < total_steps || config.train().max_steps() > 0)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("schedule.warmup_steps: ", warm_up, " steps of warm-up do not end before the ",
                   total_steps, total_steps == 1 ? " step" : " steps", " that train.epochs ",
                   config.train().epochs(), " gives; lower it or raise train.epochs"));
}

absl::Status CheckWarmUpQuickly(const v1::JobConfig& config, const v1::DataReport& quick) {
  const std::optional<int64_t> steps = QuickStepsAtMost(config, quick);
  return steps.has_value() ? CheckWarmUp(config, *steps) : absl::OkStatus();
}

}  // namespace trainerd::engine
