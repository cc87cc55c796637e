// SPDX-License-Identifier: Apache-2.0
// Directories: create, list, remove, free space. No exceptions; paths in every error.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd {

// Creates the missing directories of `path` (`mode` less the umask) and makes their names durable.
// Errors: AlreadyExists if `path` is a file.
absl::Status MakeDirectories(const std::string& path, mode_t mode = 0700);

// Whether MakeDirectories could create `path`, which does not exist: creates and removes a
// temporary directory in the nearest existing parent. A full disk is no error, because it can be
// freed. Errors: by errno, with the parent; FailedPrecondition if the parent is not a directory.
absl::Status CheckCreatable(const std::string& path);

// Whether something exists at `path`; symbolic links are followed. False too if a directory on the
// way may not be searched.
bool PathExists(const std::string& path);

// The same without following: a symbolic link counts, whatever it refers to.
bool NameExists(const std::string& path);

// `path`, which is absolute, with every symbolic link of it resolved, also one that refers to
// nothing, and without "." and "..". What does not exist, may not be searched, or lies behind a
// loop of links stays as it is.
std::string ResolveLinks(const std::string& path);

// Whether `path` is `folder` or lies below it. Both are absolute and normal.
bool IsWithin(const std::string& path, const std::string& folder);

// Whether a folder exists at `path`; symbolic links are followed.
bool IsFolder(const std::string& path);

// All names but "." and "..", in no particular order. Errors: NotFound.
absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);

// Removes a file, or a directory with its contents. OK if `path` does not exist. Interrupted, it
// leaves a part of the contents.
absl::Status RemoveAll(const std::string& path);

// Renames `path` to `aside` (same file system; durable), then removes `aside`. A crash leaves
// either `path` complete or a remainder in `aside`, never a part of `path`. What an earlier call
// left in `aside` is removed. OK if neither exists.
absl::Status RemoveThrough(const std::string& path, const std::string& aside);

// Free bytes of the file system that holds `path` or, if `path` does not exist, its nearest
// existing parent.
absl::StatusOr<int64_t> FreeBytes(const std::string& path);

// Whether both paths, or their nearest existing parents, are on one file system. False if either
// cannot be determined.
bool AreOnSameFileSystem(const std::string& a, const std::string& b);

}  // namespace trainerd
