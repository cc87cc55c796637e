// SPDX-License-Identifier: Apache-2.0
// Observes one attempt and delivers requested actions to it without making the caller wait. The
// calls of the executor can wait up to 1 s for a shim that does not answer, so they run elsewhere
// and the caller takes their results later.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/runs/executor.h"

namespace trainerd::server {

// At most one call is in progress per probe. Owned by std::shared_ptr, because a call in progress
// can outlive the attempt that the caller tracks.
// Thread-safety: all methods may be called from any thread; none blocks.
class AttemptProbe : public std::enable_shared_from_this<AttemptProbe> {
 public:
  // Runs a function that can block, on another thread.
  using RunCall = std::function<void(std::function<void()>)>;
  struct Delivery {
    internal::RequestedAction action;
    absl::Status status;
  };
  // `wake` is called when an observation of another kind than the last one, or the success of a
  // delivery, is ready to be taken. The executor outlives the calls that `run_call` was given.
  AttemptProbe(Executor& executor, AttemptRef attempt, RunCall run_call,
               std::function<void()> wake);

  // Requests an observation that begins after this call.
  void RequestObservation();
  // The newest observation, once; nullopt when there is none since the last one was taken.
  std::optional<Observation> TakeObservation();

  // Requests Executor::Signal. Replaces a request that has not begun; does nothing while the same
  // action is being delivered.
  void RequestDelivery(internal::RequestedAction action, absl::Duration grace);
  // The newest result, once.
  std::optional<Delivery> TakeDelivery();

 private:
  struct Request {
    internal::RequestedAction action;
    absl::Duration grace;
  };
  void Work();
  void Observe();
  void Deliver(const Request& request);

  Executor& executor_;
  const AttemptRef attempt_;
  const RunCall run_call_;
  const std::function<void()> wake_;

  absl::Mutex mutex_;
  bool working_ ABSL_GUARDED_BY(mutex_) = false;
  bool observation_requested_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<Observation> observation_ ABSL_GUARDED_BY(mutex_);
  std::optional<Observation::Kind> last_kind_ ABSL_GUARDED_BY(mutex_);
  std::optional<Request> delivery_requested_ ABSL_GUARDED_BY(mutex_);
  std::optional<internal::RequestedAction> delivering_ ABSL_GUARDED_BY(mutex_);
  std::optional<Delivery> delivery_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
