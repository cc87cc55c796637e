// SPDX-License-Identifier: Apache-2.0
// StreamLogs: the worker's output by byte offset. A follower uses no thread; one poller reads the
// files for all followers.
#pragma once

#include <grpcpp/grpcpp.h>

#include <set>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/base/process/wake_up.h"
#include "server/api/streams.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

class LogStream;

// Wakes log streams that have reached the current end of the log. Thread-safety: all methods may be
// called from any thread.
class LogPoller {
 public:
  LogPoller();
  ~LogPoller();
  // Calls the stream's Step soon; the stream must live until then.
  void Wait(LogStream* stream);
  // Calls Step of all waiting streams at once. With `draining`, ends them and all later ones.
  void Wake(bool draining);

 private:
  void Loop();

  absl::Mutex mutex_;
  std::set<LogStream*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  WakeUp wake_up_;
  std::thread thread_;
};

// The returned reactor deletes itself.
grpc::ServerWriteReactor<v1::LogChunk>* StartStreamLogs(Store& store, LogPoller& poller,
                                                        const StreamPermit& permit,
                                                        grpc::CallbackServerContext* context,
                                                        const v1::StreamLogsRequest& request);

}  // namespace trainerd::server
