// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/run_dir/read_error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/fd.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

constexpr size_t kReadBytes = 1 << 20;

// A directory in place of a file is not a read error.
absl::Status ReadToEnd(const std::string& path, std::vector<char>* buffer) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.is_open()) return ErrnoStatus(errno, "open " + path);
  ssize_t got = 0;
  do {
    got = read(fd.get(), buffer->data(), buffer->size());
  } while (got > 0 || (got < 0 && errno == EINTR));
  return got == 0 || errno == EISDIR ? absl::OkStatus() : ErrnoStatus(errno, "read " + path);
}

}  // namespace

bool IsConclusive(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsDataLoss(status) ||
         absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status);
}

absl::Status ConfirmCorruption(const std::vector<std::string>& paths,
                               const std::function<absl::Status()>& check) {
  const absl::Status first = check();
  if (!absl::IsDataLoss(first)) return first;
  std::vector<char> buffer(kReadBytes);
  for (const std::string& path : paths) {
    const absl::Status status = ReadToEnd(path, &buffer);
    if (!status.ok() && !absl::IsNotFound(status)) return InconclusiveReadError(status);
  }
  return check();
}

absl::Status InconclusiveReadError(const absl::Status& status) {
  return absl::UnavailableError(absl::StrCat("cannot be read now: ", status.message()));
}

}  // namespace trainerd
