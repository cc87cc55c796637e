// SPDX-License-Identifier: Apache-2.0
// The executor with the real trainerd-shim and the fake worker, in a temporary run directory. Every
// wait is for a condition with a generous deadline; nothing is timed.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "proto/base/directory.h"
#include "server/ingest/spool_reader.h"
#include "server/runs/local_executor.h"
#include "tests/paths.h"
#include "tests/temp_dir.h"

namespace trainerd::server {

inline constexpr absl::Duration kPatience = absl::Seconds(30);
inline const std::string kShim = std::string(TRAINERD_BIN_DIR) + "/trainerd-shim";
inline const std::string kWorker = std::string(TRAINERD_BIN_DIR) + "/../tests/fake_worker";

class LocalExecutorTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const AttemptRef& owned : executor_.ListOwned(root_ + "/runs")) {
      executor_.KillByIdentity(owned).IgnoreError();
      WaitFor([&] { return !*IsLockHeld(run_dir_ + "/run.lock"); });
    }
  }

  internal::AttemptSpec Spec(int attempt, std::map<std::string, std::string> labels) const {
    internal::AttemptSpec spec;
    spec.set_job("jobs/abc");
    spec.set_attempt(attempt);
    spec.set_run_dir(run_dir_);
    spec.add_devices("cpu");
    spec.set_worker_path(kWorker);
    v1::JobConfig& config = *spec.mutable_config()->mutable_config();
    config.mutable_train()->set_seed(7);
    config.mutable_checkpoint()->set_every_steps(20);
    for (const auto& [key, value] : labels) (*config.mutable_labels())[key] = value;
    return spec;
  }
  AttemptRef Ref(int attempt) const {
    return {.job = "jobs/abc", .attempt = attempt, .run_dir = run_dir_};
  }
  std::string Dir(int attempt) const { return AttemptDir(run_dir_, attempt); }

  static bool WaitFor(const std::function<bool()>& condition) {
    const absl::Time give_up = absl::Now() + kPatience;
    while (!condition()) {
      if (absl::Now() > give_up) return false;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return true;
  }
  Observation WaitForKind(int attempt, Observation::Kind kind) {
    Observation last;
    WaitFor([&] {
      last = executor_.Observe(Ref(attempt));
      return last.kind == kind;
    });
    EXPECT_EQ(static_cast<int>(last.kind), static_cast<int>(kind)) << last.detail;
    return last;
  }
  std::vector<v1::Event> Events(int attempt) {
    std::vector<v1::Event> events;
    SpoolPosition position;
    while (true) {
      const absl::StatusOr<SpoolBatch> batch = ReadSpool(Dir(attempt), position, 1 << 20, 1 << 30);
      EXPECT_TRUE(batch.ok()) << batch.status();
      if (!batch.ok()) return events;
      events.insert(events.end(), batch->events.begin(), batch->events.end());
      if (batch->at_end) return events;
      position = batch->next;
    }
  }
  int64_t LastStep(int attempt) {
    int64_t step = 0;
    for (const v1::Event& event : Events(attempt)) {
      if (event.has_metrics()) step = event.metrics().step();
    }
    return step;
  }

  TempDir temp_;
  const std::string root_ = temp_.path();
  std::string run_dir_ = root_ + "/runs/abc";
  LocalExecutor executor_{kShim};
};

}  // namespace trainerd::server
