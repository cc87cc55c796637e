// SPDX-License-Identifier: Apache-2.0
// Admin.Drain and Undrain. No gRPC here.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/commands/command.h"
#include "server/ledger/drain.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Both are OK if the drain is in the requested state already. A repeated call has no effect, also
// if the drain has ended in between.
// Thread-safety: all methods may be called from any thread.
class DrainCommands {
 public:
  // `poke` is called once a command is in force, so that the reconciler acts on it.
  DrainCommands(Store& store, DaemonDrain& drain, std::function<void()> poke);

  // No attempt begins after this returns OK. Errors: InvalidArgument (deadline).
  absl::Status Begin(const v1::DrainRequest& request, const Caller& caller);
  absl::Status End(const v1::UndrainRequest& request, const Caller& caller);
  bool in_force() const { return drain_.in_force(); }
  // Attempts that have not ended.
  absl::StatusOr<int> CountActiveAttempts();

 private:
  // Sets what `next` makes of the drain in force, together with the audit row and the reply.
  absl::Status Change(CommandCall call,
                      const std::function<std::optional<DrainOrder>(Transaction&)>& next)
      ABSL_LOCKS_EXCLUDED(mutex_);

  Store& store_;
  DaemonDrain& drain_;
  const std::function<void()> poke_;
  // Held by a command, so that the drain is what the last one that was committed requests.
  absl::Mutex mutex_;
};

}  // namespace trainerd::server
