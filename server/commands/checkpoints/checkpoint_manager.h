// SPDX-License-Identifier: Apache-2.0
// The commands of the service Checkpoints: labels, pins and expiry, verification, garbage. No gRPC
// here.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/files/file_store.h"
#include "server/ledger/housekeeping.h"
#include "server/store/caller.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// `is_cancelled` (null = never)
// ends a call whose caller no longer waits.
// Thread-safety: all methods may be called from any thread.
class CheckpointManager {
 public:
  struct Options {
    // Called with "jobs/{id}" once the job's checkpoints have durably changed.
    std::function<void(const std::string& job)> poke = [](const std::string&) {};
    // Null: there are no uploads. Outlives the object.
    FileStore* files = nullptr;
  };
  CheckpointManager(Options options, Store& store, Housekeeping& housekeeping);

  absl::StatusOr<v1::Checkpoint> Update(const v1::UpdateCheckpointRequest& request,
                                        const Caller& caller);
  absl::StatusOr<v1::Checkpoint> Verify(const v1::VerifyCheckpointRequest& request,
                                        const Caller& caller,
                                        const std::function<bool()>& is_cancelled = nullptr);
  absl::StatusOr<v1::CollectGarbageResponse> CollectGarbage(
      const v1::CollectGarbageRequest& request, const Caller& caller,
      const std::function<bool()>& is_cancelled = nullptr);

 private:
  // Reads the checkpoint back while retention keeps it. Errors: ResourceExhausted with reason
  // VERIFICATIONS; of VerifyCheckpoint, with the file that differs in `file`.
  absl::Status ReadBack(const v1::Checkpoint& checkpoint, const std::function<bool()>& is_cancelled,
                        std::string* file);
  absl::StatusOr<v1::Checkpoint> RecordVerified(const std::string& name, const Caller& caller);
  // Marks the checkpoint and returns the error of the call.
  absl::Status RecordDamaged(const std::string& name, const Caller& caller, const absl::Status& why,
                             const std::string& file);

  const Options options_;
  Store& store_;
  Housekeeping& housekeeping_;

  absl::Mutex mutex_;
  int verifications_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace trainerd::server
