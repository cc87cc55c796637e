// SPDX-License-Identifier: Apache-2.0
// An executor without processes: records its calls and returns what the test has set.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "server/runs/executor.h"

namespace trainerd::server {

class FakeExecutor : public Executor {
 public:
  using Key = std::pair<std::string, int>;

  absl::Status Launch(const internal::AttemptSpec& spec) override {
    launches.push_back(spec);
    if (!launch_status.ok()) return launch_status;
    observations[{spec.job(), spec.attempt()}].kind = Observation::Kind::kRunning;
    return absl::OkStatus();
  }
  Observation Observe(const AttemptRef& attempt) override {
    before_call(attempt);
    auto it = observations.find({attempt.job, attempt.attempt});
    if (it != observations.end()) return it->second;
    return {.kind = Observation::Kind::kGone, .never_started = true};
  }
  absl::Status Signal(const AttemptRef& attempt, internal::RequestedAction action,
                      absl::Duration grace) override {
    before_call(attempt);
    signals.push_back({attempt.job, action, grace});
    return absl::OkStatus();
  }
  absl::Status KillByIdentity(const AttemptRef& attempt) override {
    kills.push_back({attempt.job, attempt.attempt});
    return absl::OkStatus();
  }
  std::vector<AttemptRef> ListOwned(const std::string&) override { return owned; }

  // The worker of the newest launch of `job` exits with its own record.
  void WorkerEnds(const std::string& job, v1::Attempt::End end, int64_t last_step = 0) {
    Observation& o = Newest(job);
    o.kind = Observation::Kind::kExited;
    o.exit.emplace();
    o.worker_exit.emplace().set_end(end);
    o.worker_exit->set_first_step(last_step > 0 ? 1 : 0);
    o.worker_exit->set_last_step(last_step);
  }
  // The worker exits with an error of its own, for example CHECKPOINT_DAMAGED.
  void WorkerFails(const std::string& job, const std::string& code, bool retryable = true) {
    WorkerEnds(job, v1::Attempt::FAILED);
    v1::JobError* error = Newest(job).worker_exit->mutable_error();
    error->set_code(code);
    error->set_message(code);
    error->set_cause(v1::JobError::STORAGE);
    error->set_retryable(retryable);
  }
  void WorkerCrashes(const std::string& job) {
    Observation& o = Newest(job);
    o.kind = Observation::Kind::kExited;
    o.exit.emplace().set_signal(11);
  }
  Observation& Newest(const std::string& job) {
    int attempt = 0;
    for (const auto& spec : launches) {
      if (spec.job() == job) attempt = std::max(attempt, spec.attempt());
    }
    return observations[{job, attempt}];
  }

  struct Sent {
    std::string job;
    internal::RequestedAction action;
    absl::Duration grace;
  };
  // Called by each method that sends a request to the shim, for example to block it.
  std::function<void(const AttemptRef&)> before_call = [](const AttemptRef&) {};
  absl::Status launch_status;
  std::vector<internal::AttemptSpec> launches;
  std::map<Key, Observation> observations;
  std::vector<Sent> signals;
  std::vector<Key> kills;
  std::vector<AttemptRef> owned;
};

}  // namespace trainerd::server
