// SPDX-License-Identifier: Apache-2.0
// What a watcher knows about jobs: a snapshot and every event since, folded together. Pure data: no
// clock, no terminal.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::client {

// The losses of a run by step, thinned so that a run of any length keeps its shape in bounded
// memory.
class LossHistory {
 public:
  // A step at or before the newest one begins a later attempt's line: what it repeats is replaced.
  void Add(int64_t step, double loss);
  const std::vector<double>& losses() const { return losses_; }

 private:
  std::vector<int64_t> steps_;
  std::vector<double> losses_;
};

struct LiveJob {
  v1::Job job;
  LossHistory losses;
  std::optional<v1::Metrics> metrics;  // newest step
  std::optional<v1::EvalResult> first_eval;
  std::optional<v1::EvalResult> last_eval;
  std::optional<v1::Event> checkpoint;      // newest PUBLISHED, VERIFIED or ADOPTED, with its time
  std::optional<v1::StageEvent> stage;      // the one that runs
  std::map<std::string, v1::Alert> alerts;  // active ones, by type
  std::optional<v1::RunSummary> summary;
};

class LiveState {
 public:
  // Replaces what is known of the job's row; curves and alerts stay.
  void SetSnapshot(const v1::Job& job);
  // Folds in an event that follows the snapshot.
  void Apply(const v1::Event& event);
  // Folds in an event from before the snapshot: curve, validation losses, checkpoint and alerts,
  // but not the row.
  void ApplyHistory(const v1::Event& event);
  const LiveJob* Find(const std::string& name) const;
  const std::map<std::string, LiveJob>& jobs() const { return jobs_; }

 private:
  std::map<std::string, LiveJob> jobs_;
};

}  // namespace trainerd::client
