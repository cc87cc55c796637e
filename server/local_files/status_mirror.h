// SPDX-License-Identifier: Apache-2.0
// The file that mirrors the jobs that have not ended and the last ones that have: a
// ListJobsResponse as `trainctl -o json` prints it, for programs that read a file.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/process/wake_up.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

class StatusMirror {
 public:
  struct Options {
    std::string path;
    // The file is replaced at most this often. Writing it takes at most a tenth of the time,
    // however many jobs there are.
    absl::Duration every = absl::Seconds(1);
  };
  // `store` outlives the mirror.
  StatusMirror(Options options, Store& store) : options_(std::move(options)), store_(store) {}
  ~StatusMirror();

  void Start();
  // Ends the thread, after it has written the last changes. Idempotent.
  void Stop();
  // A job has changed. Thread-safe, does not wait.
  void OnChange();

  // Writes the file once. Errors: of the database and of ReplaceFile.
  absl::Status WriteOnce();

 private:
  void Loop();
  void WriteAndPause();

  const Options options_;
  Store& store_;
  // The thread's.
  bool error_logged_ = false;

  absl::Mutex mutex_;
  bool changed_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  WakeUp wake_up_;
  std::thread thread_;
};

}  // namespace trainerd::server
