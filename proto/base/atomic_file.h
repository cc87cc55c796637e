// SPDX-License-Identifier: Apache-2.0
// Files that are either the old or the new one after a crash: temporary file, fsync, rename, fsync
// of the folder.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd {

// Replaces `path` durably; on any error the old file is untouched and no temporary file is left.
// `mode` is that of a new file, less the umask. Errors carry path and errno's text;
// ResourceExhausted for ENOSPC/EDQUOT, PermissionDenied for EACCES/EROFS. Thread-safety: safe from
// several threads and processes; the last rename wins.
absl::Status WriteFileAtomic(const std::string& path, std::string_view contents, int mode = 0600);
absl::StatusOr<std::string> ReadFile(const std::string& path);  // NotFound when absent
absl::Status FsyncPath(const std::string& path);                // a file or a folder
// rename(2) and fsync of the parent folder(s).
absl::Status RenameDurable(const std::string& from, const std::string& to);
// Status of an errno with the right code and "what path: text".
absl::Status ErrnoStatus(int error, std::string_view what);

}  // namespace trainerd
