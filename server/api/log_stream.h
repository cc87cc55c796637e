// SPDX-License-Identifier: Apache-2.0
// StreamLogs: the worker's output by byte offset. Followers hold no thread: one poller looks at the
// files of all of them.
#pragma once

#include <grpcpp/grpcpp.h>

#include <set>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/api/streams.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

class LogStream;

// Wakes log streams that have reached the end of what is written so far. Thread-safety: all methods
// may be called from any thread.
class LogPoller {
 public:
  LogPoller();
  ~LogPoller();
  // The stream is looked at again soon; it must not be destroyed before.
  void Wait(LogStream* stream);
  // Looks at all waiting streams at once; with `draining`, ends them and those that come later.
  void Wake(bool draining);

 private:
  void Loop();

  absl::Mutex mutex_;
  std::set<LogStream*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// The returned reactor deletes itself.
grpc::ServerWriteReactor<v1::LogChunk>* StartStreamLogs(Store& store, LogPoller& poller,
                                                        StreamLimit& limit,
                                                        const v1::StreamLogsRequest& request);

}  // namespace trainerd::server
