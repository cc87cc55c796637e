// SPDX-License-Identifier: Apache-2.0
#include "engine/data/warm_up.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/contract/config/config_choices.h"

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
  const bool read_all = quick.tokens().count() == quick.examples() + quick.validation_examples();
  if (!read_all || SplitsLongExamples(config.data().packing())) return absl::OkStatus();
  for (const v1::DataSource& source : config.data().train()) {
    if (source.weight() > 1) return absl::OkStatus();
  }
  const int64_t per_step =
      int64_t{config.train().batch_size()} * config.train().gradient_accumulation();
  const int64_t per_epoch = (quick.examples() + per_step - 1) / per_step;
  return CheckWarmUp(config, static_cast<int64_t>(std::ceil(config.train().epochs() *
                                                            static_cast<double>(per_epoch))));
}

}  // namespace trainerd::engine
