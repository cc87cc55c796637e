// SPDX-License-Identifier: Apache-2.0
// Durable files: after a crash a file has either its old or its new contents. Write a temporary
// file, fsync, rename, fsync the directory.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/fd.h"

namespace trainerd {

// Replaces `path` atomically and durably. `mode` is the mode of a new file, less the umask. On an
// error the old file is unchanged and no temporary file remains. Errors: path and text of errno;
// ResourceExhausted for ENOSPC/EDQUOT, PermissionDenied for EACCES/EROFS. Thread-safe, also across
// processes: the last rename wins.
absl::Status WriteFileAtomic(const std::string& path, std::string_view contents, int mode = 0600);
// As WriteFileAtomic, but not durable: after a power cut the file can have its old, its new or no
// contents. For files that are written again and again.
absl::Status ReplaceFile(const std::string& path, std::string_view contents, int mode = 0600);
// Opens a regular file for reading, also behind links. Never waits, and never opens a pipe, a
// device or a socket. Errors: NotFound; FailedPrecondition for what is not a regular file.
absl::StatusOr<Fd> OpenRegularFile(const std::string& path);
// "a folder", "a pipe", "a device", "a socket": what a file of this mode is; "" for a regular file.
std::string SpecialFileKind(mode_t mode);
// The contents of a regular file. Errors: those of OpenRegularFile.
absl::StatusOr<std::string> ReadFile(const std::string& path);
// What is left to read.
absl::StatusOr<std::string> ReadToEnd(const Fd& fd, const std::string& path);
// As ReadFile, but waits for a pipe or a device (/dev/stdin): for files that a user names on the
// command line.
absl::StatusOr<std::string> ReadStream(const std::string& path);
absl::Status FsyncPath(const std::string& path);  // of a file or a directory
// rename(2) and fsync of the parent directories.
absl::Status RenameDurable(const std::string& from, const std::string& to);
// Writes all of `contents` at the position of `fd`. `path` is for the error.
absl::Status WriteAll(int fd, std::string_view contents, const std::string& path);
// The folder that holds `path`: "." for a name without a slash.
std::string ParentOf(const std::string& path);
// An errno as a status: "<what>: <text of the errno>" with the matching code.
absl::Status ErrnoStatus(int error, std::string_view what);

}  // namespace trainerd
