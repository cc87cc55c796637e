// SPDX-License-Identifier: Apache-2.0
// Keeps the table of devices up to date. A driver can load after the daemon has started, a library
// can be installed while it runs, and a GPU can fail.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/process/wake_up.h"
#include "server/runs/device_table.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

class DeviceWatcher {
 public:
  struct Options {
    // Blocks for seconds. Called from the watcher's thread only.
    std::function<absl::StatusOr<std::vector<v1::Device>>()> query;
    // Called after each query.
    std::function<void()> on_answer;
    // Until the devices are known.
    absl::Duration retry_after = absl::Seconds(5);
    // While a device is unavailable, and after a query that failed later.
    absl::Duration unavailable_every = absl::Minutes(1);
    // Otherwise. A query starts trainerd-worker, which takes about a second of one CPU.
    absl::Duration every = absl::Minutes(10);
  };
  // `devices` outlives the watcher.
  DeviceWatcher(Options options, DeviceTable& devices);
  ~DeviceWatcher();

  void Start();
  // Queries at once, or once more if a query is in progress. Thread-safe.
  void QueryNow();
  // Returns without waiting for a query in progress; the destructor waits. Idempotent.
  void Stop();

 private:
  void Loop();
  // Queries once. Returns the time until the next query.
  absl::Duration Query();

  const Options options_;
  DeviceTable& devices_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  WakeUp wake_up_;
  std::thread thread_;
};

}  // namespace trainerd::server
