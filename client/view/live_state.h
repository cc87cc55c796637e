// SPDX-License-Identifier: Apache-2.0
// The jobs that a watch shows: a snapshot plus every event since. Pure data: no clock, no terminal.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::client {

// The losses of a job by step, thinned to bounded memory. The shape of the curve is kept.
class LossHistory {
 public:
  // A step at or before the newest one comes from a later attempt and replaces what it repeats.
  void Add(int64_t step, double loss);
  const std::vector<double>& losses() const { return losses_; }

 private:
  std::vector<int64_t> steps_;
  std::vector<double> losses_;
};

struct LiveJob {
  v1::Job job;
  LossHistory losses;
  // Of the newest step.
  std::optional<v1::Metrics> metrics;
  std::optional<v1::EvalResult> first_eval;
  std::optional<v1::EvalResult> last_eval;
  // The newest PUBLISHED, VERIFIED or ADOPTED, with its time.
  std::optional<v1::Event> checkpoint;
  // The stage in progress.
  std::optional<v1::StageEvent> stage;
  // The active alerts, by type.
  std::map<std::string, v1::Alert> alerts;
  std::optional<v1::RunSummary> summary;
};

class LiveState {
 public:
  // Replaces the job; curves and alerts stay.
  void SetSnapshot(const v1::Job& job);
  // Applies an event after the snapshot.
  void Apply(const v1::Event& event);
  // Applies an event before the snapshot to the curve, the validation losses, the checkpoint and
  // the alerts, but not to the job.
  void ApplyHistory(const v1::Event& event);
  const LiveJob* Find(const std::string& name) const;
  const std::map<std::string, LiveJob>& jobs() const { return jobs_; }

 private:
  std::map<std::string, LiveJob> jobs_;
};

}  // namespace trainerd::client
