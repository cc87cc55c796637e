// SPDX-License-Identifier: Apache-2.0
// Readers and writers of the small files of a run directory.
#include "proto/contract/run_dir/attempt_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "proto/base/atomic_file.h"
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

// Bytes of the UTF-8 sequence that begins at text[0]; 0 when there is none.
size_t Utf8SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  size_t length = 0;
  uint32_t code = 0;
  if (byte(0) < 0x80) return 1;
  if ((byte(0) & 0xe0) == 0xc0) {
    length = 2;
    code = byte(0) & 0x1f;
  } else if ((byte(0) & 0xf0) == 0xe0) {
    length = 3;
    code = byte(0) & 0x0f;
  } else if ((byte(0) & 0xf8) == 0xf0) {
    length = 4;
    code = byte(0) & 0x07;
  }
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = (code << 6) | (byte(i) & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < kSmallest[length] || code > 0x10ffff || surrogate ? 0 : length;
}

}  // namespace

std::string AttemptDir(const std::string& run_dir, int attempt) {
  return absl::StrCat(run_dir, "/attempts/", attempt);
}

absl::StatusOr<internal::AttemptSpec> ReadAttemptSpec(const std::string& attempt_dir) {
  ASSIGN_OR_RETURN(std::optional<internal::AttemptSpec> spec,
                   ReadRecord<internal::AttemptSpec>(attempt_dir + kSpec));
  if (!spec.has_value()) {
    return absl::NotFoundError(absl::StrCat(attempt_dir, " holds no spec.pb"));
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
    return absl::DataLossError(absl::StrCat(run_dir, kPublisher, " holds no attempt number"));
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
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return false;
    return ErrnoStatus(errno, "open " + path);
  }
  const int result = flock(fd, LOCK_SH | LOCK_NB);
  const int error = errno;
  close(fd);
  if (result == 0) return false;
  if (error == EWOULDBLOCK) return true;
  return ErrnoStatus(error, "probe the lock of " + path);
}

absl::Status MakeFolders(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0) {
    return S_ISDIR(info.st_mode) ? absl::OkStatus()
                                 : absl::AlreadyExistsError(path + " exists and is not a folder");
  }
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos || slash == 0) return ErrnoStatus(ENOENT, "create " + path);
  const std::string parent = path.substr(0, slash);
  RETURN_IF_ERROR(MakeFolders(parent));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, "create " + path);
  }
  return FsyncPath(parent);
}

std::string ToValidUtf8(std::string text) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = Utf8SequenceLength(std::string_view(text).substr(i));
    if (length == 0) text[i] = '?';
    i += length == 0 ? 1 : length;
  }
  return text;
}

}  // namespace trainerd
