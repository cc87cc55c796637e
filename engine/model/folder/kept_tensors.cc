// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/kept_tensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Of a copy from file to file.
constexpr int64_t kBufferBytes = int64_t{4} << 20;

absl::Status Changed(const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat(
      path,
      " was changed after the job had opened it, and its vision part belongs to the model "
      "that the job writes; put the file back and resume the job from its last checkpoint"));
}

bool AreSame(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const KeptTensors>> KeptTensors::Open(const HfFolder& weights) {
  auto kept = std::make_shared<KeptTensors>();
  kept->tensors_ = weights.VisionTensors();
  for (const TensorInfo& tensor : kept->tensors_) {
    const std::string path = weights.FileOf(tensor.name);
    auto file = std::find_if(kept->files_.begin(), kept->files_.end(),
                             [&](const File& opened) { return opened.path == path; });
    if (file == kept->files_.end()) {
      File opened{.path = path, .fd = Fd(open(path.c_str(), O_RDONLY | O_CLOEXEC))};
      if (!opened.fd.is_open() || fstat(opened.fd.get(), &opened.opened) != 0)
        return ErrnoStatus(errno, absl::StrCat("open ", path));
      file = kept->files_.insert(file, std::move(opened));
    }
    kept->file_of_.push_back(static_cast<size_t>(file - kept->files_.begin()));
  }
  return kept;
}

absl::Status KeptTensors::Append(size_t index, SafetensorsWriter& writer) const {
  const TensorInfo& tensor = tensors_[index];
  const File& file = files_[file_of_[index]];
  struct stat now = {};
  if (fstat(file.fd.get(), &now) != 0) return ErrnoStatus(errno, absl::StrCat("read ", file.path));
  if (!AreSame(now, file.opened)) return Changed(file.path);
  std::string buffer(static_cast<size_t>(std::min(kBufferBytes, tensor.size_bytes)), '\0');
  for (int64_t done = 0; done < tensor.size_bytes;) {
    const auto size = static_cast<size_t>(std::min(kBufferBytes, tensor.size_bytes - done));
    const ssize_t count = pread(file.fd.get(), buffer.data(), size, tensor.offset + done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, absl::StrCat("read ", file.path));
    if (count == 0) return Changed(file.path);
    RETURN_IF_ERROR(writer.Append(buffer.data(), static_cast<size_t>(count)));
    done += count;
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
