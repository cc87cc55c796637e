// SPDX-License-Identifier: Apache-2.0
// Readers and writers of the small files of a run directory.
#include "proto/contract/run_dir/attempt_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/atomic_file.h"
#include "proto/base/fd.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/json_output.h"
#include "proto/contract/job/field_upgrade.h"

namespace trainerd {
namespace {

constexpr char kSpec[] = "/spec.pb";
constexpr char kExitRecord[] = "/exit.rec";
constexpr char kWorkerExitRecord[] = "/worker_exit.rec";
constexpr char kShimInfo[] = "/shim.json";
constexpr char kPublisher[] = "/publisher";
constexpr std::string_view kLogPrefix = "worker.";
constexpr std::string_view kLogSuffix = ".log";

template <typename Message>
absl::StatusOr<std::optional<Message>> ReadRecord(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (absl::IsNotFound(bytes.status())) return std::optional<Message>();
  if (!bytes.ok()) return bytes.status();
  Message message;
  if (!message.ParseFromString(*bytes)) {
    return absl::DataLossError(absl::StrCat(path, " is not a ", message.GetTypeName()));
  }
  return std::optional<Message>(std::move(message));
}

}  // namespace

std::string AttemptDir(const std::string& run_dir, int attempt) {
  return absl::StrCat(run_dir, "/attempts/", attempt);
}

absl::StatusOr<internal::AttemptSpec> ReadAttemptSpec(const std::string& attempt_dir) {
  ASSIGN_OR_RETURN(std::optional<internal::AttemptSpec> spec,
                   ReadRecord<internal::AttemptSpec>(attempt_dir + kSpec));
  if (!spec.has_value()) {
    return absl::NotFoundError(absl::StrCat(attempt_dir, kSpec, " does not exist"));
  }
  // A daemon that is older than the program that it starts wrote it.
  RETURN_IF_ERROR(UpgradeFields(&*spec));
  return *std::move(spec);
}

absl::StatusOr<std::optional<internal::ExitRecord>> ReadExitRecord(const std::string& attempt_dir) {
  return ReadRecord<internal::ExitRecord>(attempt_dir + kExitRecord);
}

absl::StatusOr<std::optional<internal::WorkerExitRecord>> ReadWorkerExitRecord(
    const std::string& attempt_dir) {
  return ReadRecord<internal::WorkerExitRecord>(attempt_dir + kWorkerExitRecord);
}

absl::StatusOr<std::optional<internal::ShimInfo>> ReadShimInfo(const std::string& attempt_dir) {
  absl::StatusOr<std::string> json = ReadFile(attempt_dir + kShimInfo);
  if (absl::IsNotFound(json.status())) return std::optional<internal::ShimInfo>();
  if (!json.ok()) return json.status();
  internal::ShimInfo info;
  if (absl::Status status = JsonToMessage(*json, &info); !status.ok()) {
    return absl::DataLossError(absl::StrCat(attempt_dir, kShimInfo, ": ", status.message()));
  }
  return std::optional<internal::ShimInfo>(std::move(info));
}

absl::Status WriteExitRecord(const std::string& attempt_dir, const internal::ExitRecord& record) {
  return WriteFileAtomic(attempt_dir + kExitRecord, record.SerializeAsString());
}

absl::Status WriteWorkerExitRecord(const std::string& attempt_dir,
                                   const internal::WorkerExitRecord& record) {
  return WriteFileAtomic(attempt_dir + kWorkerExitRecord, record.SerializeAsString());
}

absl::StatusOr<int> ReadPublisher(const std::string& run_dir) {
  absl::StatusOr<std::string> text = ReadFile(run_dir + kPublisher);
  if (absl::IsNotFound(text.status())) return 0;
  if (!text.ok()) return text.status();
  int attempt = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &attempt) || attempt < 1) {
    return absl::DataLossError(
        absl::StrCat(run_dir, kPublisher, " does not contain an attempt number"));
  }
  return attempt;
}

absl::Status WritePublisher(const std::string& run_dir, int attempt) {
  return WriteFileAtomic(run_dir + kPublisher, absl::StrCat(attempt, "\n"));
}

absl::Status CheckPublisher(const std::string& run_dir, int attempt) {
  ASSIGN_OR_RETURN(const int publisher, ReadPublisher(run_dir));
  if (publisher == attempt) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("attempt ", attempt, " may not publish in ",
                                                    run_dir, ": the publisher is attempt ",
                                                    publisher));
}

absl::StatusOr<bool> IsLockHeld(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open() && errno == ENOENT) return false;
  if (!fd.is_open()) return ErrnoStatus(errno, "open " + path);
  if (flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return false;
  if (errno == EWOULDBLOCK) return true;
  return ErrnoStatus(errno, "probe the lock of " + path);
}

std::string LogFileName(int64_t offset) {
  return absl::StrFormat("%s%020d%s", kLogPrefix, offset, kLogSuffix);
}

std::optional<int64_t> ParseLogFileName(std::string_view name) {
  if (!name.starts_with(kLogPrefix) || !name.ends_with(kLogSuffix) ||
      name.size() < kLogPrefix.size() + kLogSuffix.size()) {
    return std::nullopt;
  }
  name.remove_prefix(kLogPrefix.size());
  name.remove_suffix(kLogSuffix.size());
  int64_t offset = 0;
  if (!absl::SimpleAtoi(absl::string_view(name.data(), name.size()), &offset)) return std::nullopt;
  return offset;
}

}  // namespace trainerd
