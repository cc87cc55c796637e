// SPDX-License-Identifier: Apache-2.0
// Calls that wait for an evaluation to lease. One thread serves all of them, in the order of their
// arrival: when an evaluation is triggered, when a lease expires, and at the end of their wait.
#pragma once

#include <list>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "proto/base/process/wake_up.h"
#include "server/commands/evaluations.h"
#include "server/events/fan_out.h"
#include "server/store/caller.h"
#include "server/store/store.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::server {

// One waiting call.
class LeaseCall {
 public:
  virtual ~LeaseCall() = default;
  // The last call. The response has no evaluation at the end of the wait.
  virtual void Finish(absl::StatusOr<v1::LeaseEvaluationResponse> response) = 0;
};

// Thread-safety: all methods may be called from any thread.
class LeaseWaiters : private WatchSink {
 public:
  // All outlive this object.
  LeaseWaiters(Evaluations& evaluations, Store& store, FanOut& fan_out);
  // Finishes every call.
  ~LeaseWaiters() override;

  // `call` must live until its Finish is called. The request has passed Evaluations::Check.
  void Add(LeaseCall* call, const v1::LeaseEvaluationRequest& request, const Caller& caller);
  // The caller no longer waits. No effect on a call that is finished.
  void Cancel(LeaseCall* call);
  // Finishes all calls, present and future, with `status`.
  void Drain(const absl::Status& status);

 private:
  struct Entry {
    LeaseCall* call = nullptr;
    v1::LeaseEvaluationRequest request;
    Caller caller;
    // Of SteadyNow.
    absl::Time deadline;
  };

  void Write(Bytes message) override;
  void Finish(const absl::Status& status) override { finished_.Notify(); }
  void Abandon() override {}

  void Loop();
  void Serve();
  // Whether the call is finished.
  bool TryLease(const Entry& entry, std::vector<std::vector<std::string>>* exhausted);
  absl::Time NextWake() const;

  Evaluations& evaluations_;
  Store& store_;
  FanOut& fan_out_;
  absl::Notification finished_;
  bool watching_ = false;

  // The thread only.
  std::list<Entry> entries_;

  absl::Mutex mutex_;
  std::list<Entry> added_ ABSL_GUARDED_BY(mutex_);
  std::vector<LeaseCall*> cancelled_ ABSL_GUARDED_BY(mutex_);
  // OK: not draining.
  absl::Status draining_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  WakeUp wake_up_;
  std::thread thread_;
};

}  // namespace trainerd::server
