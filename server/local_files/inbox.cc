// SPDX-License-Identifier: Apache-2.0
#include "server/local_files/inbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/hash.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/job_file/job_file.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr char kAccepted[] = "accepted";
constexpr char kRejected[] = "rejected";
constexpr off_t kMaxFileBytes = 4 << 20;
constexpr mode_t kWritableByAll = S_IWOTH;
// After a submit that can succeed later.
constexpr absl::Duration kFirstBackOff = absl::Seconds(5);
constexpr absl::Duration kMaxBackOff = absl::Minutes(1);
// Names FILE-2, FILE-3 … that are tried in accepted/ and rejected/.
constexpr int kMaxNames = 10'000;

int64_t ModifiedNs(const struct stat& file) {
  constexpr int64_t kNanosPerSecond = 1'000'000'000;
  return file.st_mtim.tv_sec * kNanosPerSecond + file.st_mtim.tv_nsec;
}

// Whether the submit can succeed later although the file does not change.
bool IsTransient(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return false;
    default:
      return true;
  }
}

// A process that has the file open for writing prevents a read lease (fcntl(2)), on local file
// systems.
bool HasWriter(int fd) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;
}

// FILE.yaml, FILE-2.yaml, FILE-3.yaml …
std::string NumberedName(const std::string& name, int number) {
  if (number == 1) return name;
  const std::filesystem::path path(name);
  return absl::StrCat(path.stem().string(), "-", number, path.extension().string());
}

// The first of the numbered names that is free in a sub-folder, with it: "rejected/FILE-2.yaml".
absl::StatusOr<std::string> FreeName(int folder, const std::string& sub_folder,
                                     const std::string& name) {
  for (int number = 1; number <= kMaxNames; ++number) {
    std::string target = absl::StrCat(sub_folder, "/", NumberedName(name, number));
    struct stat existing;
    if (::fstatat(folder, target.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0) continue;
    if (errno == ENOENT) return target;
    return ErrnoStatus(errno, target);
  }
  return absl::ResourceExhaustedError(
      absl::StrCat(sub_folder, " has ", kMaxNames, " files of the name ", name, "; remove some"));
}

// Moves `name` to `target`. What has taken the name of `file` since is moved back.
absl::Status MoveFile(int folder, const std::string& name, const std::string& target,
                      const struct stat& file) {
  if (::renameat2(folder, name.c_str(), folder, target.c_str(), RENAME_NOREPLACE) != 0)
    return ErrnoStatus(errno, absl::StrCat("move ", name, " to ", target));
  struct stat moved;
  if (::fstatat(folder, target.c_str(), &moved, AT_SYMLINK_NOFOLLOW) != 0 ||
      moved.st_ino == file.st_ino)
    return absl::OkStatus();
  ::renameat2(folder, target.c_str(), folder, name.c_str(), RENAME_NOREPLACE);
  return absl::AbortedError("another file has taken its name");
}

}  // namespace

bool IsInboxFile(const std::string& name) {
  return !absl::StartsWith(name, ".") &&
         (absl::EndsWith(name, ".yaml") || absl::EndsWith(name, ".yml"));
}

std::string InboxRequestId(const struct stat& file, const std::string& contents) {
  return absl::StrCat(
      "inbox-", ToHex(Sha256(absl::StrCat(file.st_ino, " ", ModifiedNs(file), " ", contents))));
}

absl::StatusOr<std::unique_ptr<Inbox>> Inbox::Open(Options options) {
  for (const std::string& folder : {options.folder, absl::StrCat(options.folder, "/", kAccepted),
                                    absl::StrCat(options.folder, "/", kRejected)}) {
    RETURN_IF_ERROR(Annotate(MakeDirectories(folder), "inbox"));
  }
  Fd folder(::open(options.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) return ErrnoStatus(errno, absl::StrCat("inbox ", options.folder));
  struct stat mode;
  if (::fstat(folder.get(), &mode) != 0)
    return ErrnoStatus(errno, absl::StrCat("inbox ", options.folder));
  if ((mode.st_mode & kWritableByAll) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "every user may write to the inbox ", options.folder,
        ", so every user could submit jobs as this one; run `chmod o-w ", options.folder, "`"));
  }
  return std::unique_ptr<Inbox>(new Inbox(std::move(options), std::move(folder)));
}

Inbox::~Inbox() { Stop(); }

void Inbox::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Inbox::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_up_.Wake();
  if (thread_.joinable()) thread_.join();
}

void Inbox::Loop() {
  while (true) {
    ReadOnce();
    wake_up_.SleepFor(options_.every);
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
  }
}

void Inbox::ReadOnce() {
  absl::StatusOr<std::vector<std::string>> names = ListDirectory(options_.folder);
  if (!names.ok()) {
    if (!read_error_logged_)
      spdlog::error("cannot read the inbox: {}", std::string(names.status().message()));
    read_error_logged_ = true;
    return;
  }
  read_error_logged_ = false;
  std::erase_if(*names, [](const std::string& name) { return !IsInboxFile(name); });
  std::sort(names->begin(), names->end());
  std::erase_if(seen_, [&](const auto& seen) {
    return !std::binary_search(names->begin(), names->end(), seen.first);
  });
  for (const std::string& name : *names) TakeFile(name);
}

void Inbox::TakeFile(const std::string& name) {
  struct stat file;
  if (::fstatat(folder_.get(), name.c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) return;
  if (S_ISDIR(file.st_mode)) return;
  if (!S_ISREG(file.st_mode)) {
    return Reject(name, file,
                  S_ISLNK(file.st_mode)
                      ? "is a symbolic link; copy or move the file itself"
                      : absl::StrCat("is ", SpecialFileKind(file.st_mode), ", not a file"));
  }
  const Fd fd(
      ::openat(folder_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.is_open()) {
    if (errno == ENOENT || errno == ELOOP) return;  // it was replaced
    return Reject(name, file,
                  std::string(ErrnoStatus(errno, "the daemon cannot read it").message()));
  }
  if (::fstat(fd.get(), &file) != 0 || !IsComplete(name, fd.get(), file)) return;
  if (file.st_size > kMaxFileBytes) {
    return Reject(name, file,
                  absl::StrCat("has ", file.st_size, " bytes; the limit is ", kMaxFileBytes));
  }
  Submit(name, fd, file);
}

bool Inbox::IsComplete(const std::string& name, int fd, const struct stat& file) {
  const absl::Time now = options_.clock();
  Seen& seen = seen_[name];
  if (seen.inode != file.st_ino || seen.size != file.st_size ||
      seen.modified_ns != ModifiedNs(file)) {
    seen = {.inode = file.st_ino,
            .size = file.st_size,
            .modified_ns = ModifiedNs(file),
            .since = now,
            .not_before = now};
  }
  if (HasWriter(fd)) seen.since = now;
  return now - seen.since >= options_.settle_time && now >= seen.not_before;
}

void Inbox::Submit(const std::string& name, const Fd& fd, const struct stat& file) {
  const absl::StatusOr<std::string> contents = ReadToEnd(fd, name);
  if (!contents.ok()) return Defer(name, std::string(contents.status().message()));
  const absl::StatusOr<JobFile> job = ReadJobFile({.path = name,
                                                   .contents = *contents,
                                                   .working_dir = options_.folder,
                                                   .home_dir = options_.home});
  absl::Status checked = job.status();
  if (checked.ok()) checked = ViolationsToStatus(job->violations, name);
  if (!checked.ok()) return Reject(name, file, std::string(checked.message()));
  v1::SubmitJobRequest request;
  *request.mutable_config() = job->config;
  request.set_request_id(InboxRequestId(file, *contents));
  const absl::StatusOr<v1::SubmitJobResponse> response = options_.submit(request);
  if (response.ok()) return Accept(name, file, response->job().name());
  const std::string reason(response.status().message());
  IsTransient(response.status()) ? Defer(name, reason) : Reject(name, file, reason);
}

// If the move fails, the next submit of this file returns the same job.
void Inbox::Accept(const std::string& name, const struct stat& file, const std::string& job) {
  const absl::StatusOr<std::string> target = FreeName(folder_.get(), kAccepted, name);
  absl::Status moved = target.status();
  if (moved.ok()) moved = MoveFile(folder_.get(), name, *target, file);
  if (!moved.ok()) return Defer(name, std::string(moved.message()));
  spdlog::info("inbox file={} job={} moved to {}", PlainText(name), job, PlainText(*target));
  seen_.erase(name);
}

// The reason is written first, so that no file in rejected/ is without one.
void Inbox::Reject(const std::string& name, const struct stat& file, const std::string& reason) {
  const absl::StatusOr<std::string> target = FreeName(folder_.get(), kRejected, name);
  absl::Status moved = target.status();
  if (moved.ok()) {
    moved = WriteFileAtomic(absl::StrCat(options_.folder, "/", *target, ".reason"),
                            absl::StrCat(reason, "\n"));
  }
  if (moved.ok()) moved = MoveFile(folder_.get(), name, *target, file);
  if (!moved.ok()) return Defer(name, std::string(moved.message()));
  spdlog::warn("inbox file={} moved to {}: {}", PlainText(name), PlainText(*target),
               PlainText(reason));
  seen_.erase(name);
}

void Inbox::Defer(const std::string& name, const std::string& reason) {
  Seen& seen = seen_[name];
  seen.back_off = seen.back_off == absl::ZeroDuration() ? kFirstBackOff
                                                        : std::min(seen.back_off * 2, kMaxBackOff);
  seen.not_before = options_.clock() + seen.back_off;
  spdlog::warn("inbox file={} waits, tried again after {}: {}", PlainText(name),
               absl::FormatDuration(seen.back_off), PlainText(reason));
}

}  // namespace trainerd::server
