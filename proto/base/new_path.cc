// SPDX-License-Identifier: Apache-2.0
#include "proto/base/new_path.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/hash.h"
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

// Removes what begins with `prefix`, a path. What cannot be removed stays.
void RemoveBeginningWith(const std::string& prefix) {
  const std::string parent = ParentOf(prefix);
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(parent);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    const std::string path = absl::StrCat(parent, "/", name);
    if (path.compare(0, prefix.size(), prefix) == 0) RemoveAll(path).IgnoreError();
  }
}

// The file at `path`, created and locked; -1 where the file system has no locks. Errors:
// AlreadyExists if another process has the lock.
absl::StatusOr<Fd> LockFile(const std::string& path, const std::string& output) {
  for (;;) {
    Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!fd.is_open()) return ErrnoStatus(errno, absl::StrCat("create ", path));
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) return Fd();
      return absl::AlreadyExistsError(absl::StrCat("another process is writing ", output,
                                                   " now; wait for it or choose another path"));
    }
    // The process that had the lock before may have removed the file since it was opened.
    struct stat opened = {}, named = {};
    if (fstat(fd.get(), &opened) == 0 && stat(path.c_str(), &named) == 0 &&
        opened.st_ino == named.st_ino)
      return fd;
  }
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
  const std::string hash = ToHex(Xxh3(name.substr(name.rfind('/') + 1))).substr(0, 16);
  const std::string prefix = absl::StrCat(parent, "/.tmp-", hash, "-"),
                    lock_path = absl::StrCat(parent, "/.tmp-", hash, ".lock");
  ASSIGN_OR_RETURN(Fd lock, LockFile(lock_path, name));
  if (lock.is_open()) RemoveBeginningWith(prefix);
  std::random_device random;
  return NewPath(name, absl::StrFormat("%s%08x%08x", prefix, random(), random()), lock_path,
                 std::move(lock));
}

NewPath::~NewPath() {
  if (!temporary_.empty()) RemoveBeginningWith(temporary_);
  // Before the lock ends with its file descriptor.
  if (!lock_path_.empty()) unlink(lock_path_.c_str());
}

absl::Status NewPath::Publish() {
  if (!RenameNew(temporary_, path_)) {
    if (errno == EEXIST) return Exists(path_);
    return ErrnoStatus(errno, absl::StrCat("rename ", temporary_, " to ", path_));
  }
  const std::string published = std::exchange(temporary_, "");
  RemoveBeginningWith(published);
  return FsyncPath(ParentOf(path_));
}

}  // namespace trainerd
