// SPDX-License-Identifier: Apache-2.0
// Durable files: after a crash a file has either its old or its new contents. Write a temporary
// file, fsync, rename, fsync the directory.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd {

// Replaces `path` atomically and durably. `mode` is the mode of a new file, less the umask. On an
// error the old file is unchanged and no temporary file remains. Errors: path and text of errno;
// ResourceExhausted for ENOSPC/EDQUOT, PermissionDenied for EACCES/EROFS. Thread-safe, also across
// processes: the last rename wins.
absl::Status WriteFileAtomic(const std::string& path, std::string_view contents, int mode = 0600);
absl::StatusOr<std::string> ReadFile(const std::string& path);  // NotFound if it does not exist
absl::Status FsyncPath(const std::string& path);                // of a file or a directory
// rename(2) and fsync of the parent directories.
absl::Status RenameDurable(const std::string& from, const std::string& to);
// Writes all of `contents` at the position of `fd`. `path` is for the error.
absl::Status WriteAll(int fd, std::string_view contents, const std::string& path);
// The folder that holds `path`: "." for a name without a slash.
std::string ParentOf(const std::string& path);
// An errno as a status: "<what>: <text of the errno>" with the matching code.
absl::Status ErrnoStatus(int error, std::string_view what);

}  // namespace trainerd
