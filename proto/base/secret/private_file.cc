// SPDX-License-Identifier: Apache-2.0
#include "proto/base/secret/private_file.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/atomic_file.h"
#include "proto/base/fd.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

constexpr off_t kMaxBytes = 64 << 10;
constexpr mode_t kOthers = 077;

absl::Status CheckAccess(int fd, const std::string& path) {
  struct stat file;
  if (::fstat(fd, &file) != 0) return ErrnoStatus(errno, path);
  if (file.st_uid != ::geteuid() && file.st_uid != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " belongs to user ", file.st_uid,
                     ", who could change it; make it a file of user ", ::geteuid()));
  }
  if ((file.st_mode & kOthers) != 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s has mode %04o, so other users can access it; run `chmod 600 %s`", path,
                        file.st_mode & 07777, path));
  }
  if (file.st_size <= kMaxBytes) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, " has ", file.st_size, " bytes; the limit is ", kMaxBytes));
}

}  // namespace

absl::StatusOr<std::string> ReadPrivateFile(const std::string& path) {
  ASSIGN_OR_RETURN(const Fd fd, OpenRegularFile(path));
  RETURN_IF_ERROR(CheckAccess(fd.get(), path));
  return ReadToEnd(fd, path);
}

}  // namespace trainerd
