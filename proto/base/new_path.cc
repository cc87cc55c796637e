// SPDX-License-Identifier: Apache-2.0
#include "proto/base/new_path.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

absl::Status Exists(const std::string& path) {
  return absl::AlreadyExistsError(
      absl::StrCat(path, " already exists; choose another path or remove it"));
}

// Renames, without replacing anything. Sets errno on failure.
bool RenameNew(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  // Network file systems do not have it.
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return false;
  if (!IsFolder(from)) return link(from.c_str(), to.c_str()) == 0 && unlink(from.c_str()) == 0;
  if (NameExists(to)) {
    errno = EEXIST;
    return false;
  }
  return rename(from.c_str(), to.c_str()) == 0;
}

}  // namespace

absl::StatusOr<NewPath> NewPath::Create(const std::string& path) {
  std::string name = path;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  if (name.empty()) return absl::InvalidArgumentError("the path of the output is empty");
  if (NameExists(name)) return Exists(name);
  const std::string parent = ParentOf(name);
  RETURN_IF_ERROR(MakeDirectories(parent, 0777));
  // A name of its own: that of the output may be as long as a name can be, and processes of other
  // machines and containers may have the same id.
  std::random_device random;
  return NewPath(name, absl::StrFormat("%s/.tmp-%08x%08x", parent, random(), random()));
}

NewPath::~NewPath() {
  if (!temporary_.empty()) RemoveAll(temporary_).IgnoreError();
}

absl::Status NewPath::Publish() {
  if (!RenameNew(temporary_, path_)) {
    if (errno == EEXIST) return Exists(path_);
    return ErrnoStatus(errno, absl::StrCat("rename ", temporary_, " to ", path_));
  }
  temporary_.clear();
  return FsyncPath(ParentOf(path_));
}

}  // namespace trainerd
