// SPDX-License-Identifier: Apache-2.0
// Names of what lies in a run directory and its attempt directories, and readers of the records in
// them: daemon, shim and worker agree on them here.
//   publisher            the attempt that may publish: its number in decimal and a newline
//   run.lock             flock of the live attempt (taken by the shim, inherited by the worker);
//   holds "<attempt>\n" of the last taker attempts/N/shim.lock flock of the one shim that owns the
//   attempt directory (not inherited by the worker) spec.pb, exit.rec, worker_exit.rec  binary
//   messages of internal/worker.proto; shim.json is ShimInfo as JSON
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd {

std::string AttemptDir(const std::string& run_dir, int attempt);

// Errors: NotFound, DataLoss for a file that does not parse, InvalidArgument for the specification
// of an older daemon that has no current form.
absl::StatusOr<internal::AttemptSpec> ReadAttemptSpec(const std::string& attempt_dir);
// Absent file = nullopt. Errors: DataLoss for a record that does not parse.
absl::StatusOr<std::optional<internal::ExitRecord>> ReadExitRecord(const std::string& attempt_dir);
absl::StatusOr<std::optional<internal::WorkerExitRecord>> ReadWorkerExitRecord(
    const std::string& attempt_dir);
absl::StatusOr<std::optional<internal::ShimInfo>> ReadShimInfo(const std::string& attempt_dir);

// Durable, by write-temp and rename.
absl::Status WriteExitRecord(const std::string& attempt_dir, const internal::ExitRecord& record);
absl::Status WriteWorkerExitRecord(const std::string& attempt_dir,
                                   const internal::WorkerExitRecord& record);

// The attempt that may publish; 0 when the file is absent. Errors: DataLoss when it holds no
// number.
absl::StatusOr<int> ReadPublisher(const std::string& run_dir);
absl::Status WritePublisher(const std::string& run_dir, int attempt);
// FailedPrecondition when another attempt than `attempt` may publish: asked by a worker right
// before a checkpoint's rename.
absl::Status CheckPublisher(const std::string& run_dir, int attempt);

// Whether some process holds the flock of `path`; an absent file is free. Probes with a shared lock
// that is dropped at once, so who takes such a lock tries again for a moment before giving up.
absl::StatusOr<bool> IsLockHeld(const std::string& path);

// Creates the missing folders of `path` with mode 0700 and makes the new names durable.
absl::Status MakeFolders(const std::string& path);

// `text` with bytes that are no UTF-8 replaced by '?': what goes into a proto3 string field.
std::string ToValidUtf8(std::string text);

}  // namespace trainerd
