// SPDX-License-Identifier: Apache-2.0
// Names and records of a run directory and its attempt directories. Daemon, shim and worker use
// only these.
//   publisher                  number of the attempt that may publish, in decimal, and a newline
//   run.lock                   flock(2) of the live attempt: the shim takes it, the worker inherits
//                              it. Content: "<attempt>\n" of the last shim that took it
//   attempts/N/shim.lock       flock(2) of the only shim of the attempt; the worker does not
//                              inherit it
//   attempts/N/shim.json       ShimInfo as JSON
//   attempts/N/spec.pb, exit.rec, worker_exit.rec   binary messages of internal/worker.proto
//   attempts/N/control.sock    control socket of the shim
//   attempts/N/logs/worker.<20 digits>.log   output of the worker from that byte offset on
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd {

std::string AttemptDir(const std::string& run_dir, int attempt);

// Errors: NotFound, DataLoss for a file that does not parse, InvalidArgument for the specification
// of an older daemon that has no current form.
absl::StatusOr<internal::AttemptSpec> ReadAttemptSpec(const std::string& attempt_dir);
// nullopt if the file does not exist. Errors: DataLoss for a record that does not parse.
absl::StatusOr<std::optional<internal::ExitRecord>> ReadExitRecord(const std::string& attempt_dir);
absl::StatusOr<std::optional<internal::WorkerExitRecord>> ReadWorkerExitRecord(
    const std::string& attempt_dir);
absl::StatusOr<std::optional<internal::ShimInfo>> ReadShimInfo(const std::string& attempt_dir);

// Durable and atomic.
absl::Status WriteExitRecord(const std::string& attempt_dir, const internal::ExitRecord& record);
absl::Status WriteWorkerExitRecord(const std::string& attempt_dir,
                                   const internal::WorkerExitRecord& record);

// The attempt that may publish; 0 if the file does not exist. Errors: DataLoss if the file holds no
// attempt number.
absl::StatusOr<int> ReadPublisher(const std::string& run_dir);
absl::Status WritePublisher(const std::string& run_dir, int attempt);
// FailedPrecondition if another attempt may publish. The worker calls this immediately before it
// renames a checkpoint.
absl::Status CheckPublisher(const std::string& run_dir, int attempt);

// Whether a process holds the flock of `path`; false if the file does not exist. The probe takes a
// shared lock for an instant, so a process that takes such a lock must retry before it gives up.
absl::StatusOr<bool> IsLockHeld(const std::string& path);

// Name of the log file whose first byte has this offset in the worker's output.
std::string LogFileName(int64_t offset);
// The offset in such a name; nullopt for another name.
std::optional<int64_t> ParseLogFileName(std::string_view name);

}  // namespace trainerd
