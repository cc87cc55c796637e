// SPDX-License-Identifier: Apache-2.0
#include "proto/base/directory.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

// Calls `call`, which returns 0 or sets errno, on `path` or its nearest existing parent.
template <typename Call>
absl::Status OfNearestExisting(std::string path, const Call& call) {
  while (call(path.c_str()) != 0) {
    std::string parent = ParentOf(path);
    if ((errno != ENOENT && errno != ENOTDIR) || parent == path)
      return ErrnoStatus(errno, "file system of " + path);
    path = std::move(parent);
  }
  return absl::OkStatus();
}

}  // namespace

bool PathExists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

bool NameExists(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0;
}

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string ResolveLinks(const std::string& path) {
  // As the kernel's limit.
  constexpr int kMaxLinks = 40;
  int links = 0;
  std::string resolved;
  // Names that are still to be walked, the next one last.
  std::vector<std::string> names;
  const auto push = [&names](const std::string& text) {
    const std::vector<std::string> parts = absl::StrSplit(text, '/', absl::SkipEmpty());
    names.insert(names.end(), parts.rbegin(), parts.rend());
  };
  push(path);
  while (!names.empty()) {
    const std::string name = std::move(names.back());
    names.pop_back();
    if (name == ".") continue;
    if (name == "..") {
      resolved.resize(resolved.empty() ? 0 : resolved.rfind('/'));
      continue;
    }
    const std::string next = absl::StrCat(resolved, "/", name);
    char target[PATH_MAX];
    const ssize_t size = readlink(next.c_str(), target, sizeof target);
    if (size <= 0 || ++links > kMaxLinks) {
      resolved = next;
      continue;
    }
    const std::string text(target, static_cast<size_t>(size));
    if (text.front() == '/') resolved.clear();
    push(text);
  }
  return resolved.empty() ? "/" : resolved;
}

bool IsWithin(const std::string& path, const std::string& folder) {
  if (folder == "/") return true;
  return absl::StartsWith(path, folder) &&
         (path.size() == folder.size() || path[folder.size()] == '/');
}

absl::Status MakeDirectories(const std::string& path, mode_t mode) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0) {
    return S_ISDIR(info.st_mode)
               ? absl::OkStatus()
               : absl::AlreadyExistsError(absl::StrCat(path, " exists and is not a directory"));
  }
  if (path.find('/') == std::string::npos) return ErrnoStatus(ENOENT, "create " + path);
  const std::string parent = ParentOf(path);
  RETURN_IF_ERROR(MakeDirectories(parent, mode));
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, "create " + path);
  }
  return FsyncPath(parent);
}

absl::Status CheckCreatable(const std::string& path) {
  std::string parent = path;
  struct stat info;
  do {
    const std::string child = parent;
    parent = ParentOf(child);
    if (child.size() - parent.size() > NAME_MAX + 1) return ErrnoStatus(ENAMETOOLONG, child);
    if (parent == child) break;
  } while (lstat(parent.c_str(), &info) != 0 && errno == ENOENT);
  if (stat(parent.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::FailedPreconditionError(absl::StrCat(
                                 parent, " is a link to something that does not exist"))
                           : ErrnoStatus(errno, parent);
  }
  if (!S_ISDIR(info.st_mode))
    return absl::FailedPreconditionError(absl::StrCat(parent, " is not a directory"));
  std::string trial = absl::StrCat(parent, "/.trainerd-XXXXXX");
  if (mkdtemp(trial.data()) == nullptr) {
    const bool full = errno == ENOSPC || errno == EDQUOT;
    return full ? absl::OkStatus() : ErrnoStatus(errno, "create a directory in " + parent);
  }
  rmdir(trial.c_str());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return ErrnoStatus(errno, "list " + path);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  closedir(directory);
  if (error != 0) return ErrnoStatus(error, "list " + path);
  return names;
}

absl::Status RemoveAll(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error ? ErrnoStatus(error.value(), "remove " + path) : absl::OkStatus();
}

absl::Status RemoveThrough(const std::string& path, const std::string& aside) {
  if (NameExists(path)) {
    RETURN_IF_ERROR(MakeDirectories(ParentOf(aside)));
    RETURN_IF_ERROR(RemoveAll(aside));
    RETURN_IF_ERROR(RenameDurable(path, aside));
  }
  return RemoveAll(aside);
}

absl::StatusOr<int64_t> FreeBytes(const std::string& path) {
  struct statvfs info;
  RETURN_IF_ERROR(OfNearestExisting(path, [&](const char* at) { return statvfs(at, &info); }));
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
}

bool AreOnSameFileSystem(const std::string& a, const std::string& b) {
  struct stat of_a, of_b;
  return OfNearestExisting(a, [&](const char* at) { return stat(at, &of_a); }).ok() &&
         OfNearestExisting(b, [&](const char* at) { return stat(at, &of_b); }).ok() &&
         of_a.st_dev == of_b.st_dev;
}

}  // namespace trainerd
