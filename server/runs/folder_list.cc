// SPDX-License-Identifier: Apache-2.0
#include "server/runs/folder_list.h"

#include <dirent.h>
#include <errno.h>

#include <string_view>

#include "proto/base/atomic_file.h"

namespace trainerd::server {

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  DIR* folder = opendir(path.c_str());
  if (folder == nullptr) return ErrnoStatus(errno, "list " + path);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  closedir(folder);
  if (error != 0) return ErrnoStatus(error, "list " + path);
  return names;
}

}  // namespace trainerd::server
