// SPDX-License-Identifier: Apache-2.0
// When an entry of evaluation.remote triggers an evaluation. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "trainerd/v1/evaluation.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::server {

// What has happened to a job.
struct TriggerPoint {
  enum class Kind {
    // Training begins.
    kStart,
    // A checkpoint was published.
    kPublished,
    // A checkpoint became best by an eval.* metric, at or after its publication.
    kBest,
    // Training has reached its end, and the final model is verified.
    kEnd,
  };
  Kind kind;
  // Of the checkpoint.
  int64_t step = 0;
  absl::Time now;
};

// What the entry has triggered so far.
struct TriggerHistory {
  // This model, by itself: not by a request.
  bool triggered = false;
  // The newest checkpoint of the lineage that every_steps triggered; before one, the step at which
  // the job began.
  int64_t interval_step = 0;
  // The newest trigger by every_steps or on_best; nullopt: none.
  std::optional<absl::Time> gap_since;
};

// TRIGGER_UNSPECIFIED: the entry triggers nothing here.
v1::Evaluation::Trigger DecideTrigger(const v1::RemoteTriggerConfig& when,
                                      const TriggerPoint& point, const TriggerHistory& history);

}  // namespace trainerd::server
