// SPDX-License-Identifier: Apache-2.0
#include "server/host/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/format.h"

namespace trainerd::server {

absl::StatusOr<std::unique_ptr<LogFile>> LogFile::Open(const std::string& path, Limits limits) {
  std::unique_ptr<LogFile> file(new LogFile(path, limits));
  if (absl::Status opened = file->Reopen(); !opened.ok()) return opened;
  return file;
}

absl::Status LogFile::Reopen() {
  // Does not wait for the reader of a pipe.
  Fd fd(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600));
  struct stat status;
  if (!fd.is_open() || ::fstat(fd.get(), &status) != 0)
    return ErrnoStatus(errno, absl::StrCat("cannot open the log file ", path_));
  if (const std::string kind = SpecialFileKind(status.st_mode);
      !kind.empty() && !S_ISCHR(status.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the log file ", path_, " is ", kind, "; name a regular file"));
  }
  fd_ = std::move(fd);
  size_ = status.st_size;
  rotate_at_ = S_ISREG(status.st_mode) ? limits_.bytes : INT64_MAX;
  return absl::OkStatus();
}

void LogFile::Rotate() {
  struct stat ours, named;
  const bool is_ours = ::fstat(fd_.get(), &ours) == 0 && ::stat(path_.c_str(), &named) == 0 &&
                       ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
  // Another program may have renamed it already.
  bool renamed = true;
  if (is_ours) {
    const auto name = [&](int number) {
      return number == 0 ? path_ : absl::StrCat(path_, ".", number);
    };
    for (int number = limits_.files - 1; number > 0; --number) {
      if (::rename(name(number - 1).c_str(), name(number).c_str()) != 0 && number == 1)
        renamed = false;
    }
  }
  // What cannot be renamed or opened is continued, and tried again after as many bytes.
  if (!renamed || !Reopen().ok()) rotate_at_ = size_ + limits_.bytes;
}

bool LogFile::Append(std::string_view text) {
  ssize_t written;
  do {
    written = ::write(fd_.get(), text.data(), text.size());
  } while (written < 0 && errno == EINTR);
  if (written > 0) size_ += written;
  return written == static_cast<ssize_t>(text.size());
}

void LogFile::Write(std::string_view line) {
  if (size_ > 0 && size_ + static_cast<int64_t>(line.size()) > rotate_at_) Rotate();
  if (dropped_ > 0) {
    // It begins a line: the one that failed can be incomplete.
    const bool noted = Append(absl::StrCat(
        "\ntrainerd: ", Counted(dropped_, "line"),
        " could not be written to this log file, for example because its disk was full\n"));
    if (noted) dropped_ = 0;
  }
  if (dropped_ > 0 || !Append(line)) ++dropped_;
}

void LogFileSink::sink_it_(const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t text;
  formatter_->format(message, text);
  file_->Write({text.data(), text.size()});
}

}  // namespace trainerd::server
