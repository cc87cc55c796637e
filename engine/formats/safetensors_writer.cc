// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Of the start of the data, so that a reader can use vector loads on the mapping.
constexpr size_t kDataAlignment = 64;

std::string HeaderBytes(const std::vector<SafetensorsWriter::Declared>& tensors,
                        const std::map<std::string, std::string>& metadata, int64_t& data_bytes) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  header["__metadata__"] = metadata;
  data_bytes = 0;
  for (const SafetensorsWriter::Declared& tensor : tensors) {
    int64_t bytes = SizeOf(tensor.dtype);
    for (int64_t dimension : tensor.shape) bytes *= dimension;
    header[tensor.name] = {{"dtype", std::string(DtypeName(tensor.dtype))},
                           {"shape", tensor.shape},
                           {"data_offsets", {data_bytes, data_bytes + bytes}}};
    data_bytes += bytes;
  }
  std::string json = header.dump();
  json.resize((8 + json.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment - 8, ' ');
  std::string result;
  for (int i = 0; i < 8; ++i) result.push_back(static_cast<char>((json.size() >> (8 * i)) & 0xff));
  return result + json;
}

constexpr std::pair<const char*, const char*> kFormat = {"format", "pt"};

}  // namespace

int64_t SafetensorsWriter::FileBytes(const std::vector<Declared>& tensors) {
  int64_t data_bytes = 0;
  const std::string header = HeaderBytes(tensors, {kFormat}, data_bytes);
  return static_cast<int64_t>(header.size()) + data_bytes;
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, std::vector<Declared> tensors,
    std::map<std::string, std::string> metadata) {
  metadata.insert(kFormat);
  auto writer = std::unique_ptr<SafetensorsWriter>(new SafetensorsWriter());
  writer->path_ = path;
  writer->fd_.Reset(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!writer->fd_.is_open()) return ErrnoStatus(errno, absl::StrCat("create ", path));
  int64_t data_bytes = 0;
  const std::string header = HeaderBytes(tensors, metadata, data_bytes);
  writer->expected_bytes_ = static_cast<int64_t>(header.size()) + data_bytes;
  RETURN_IF_ERROR(writer->Append(header.data(), header.size()));
  return writer;
}

absl::Status SafetensorsWriter::Append(const void* data, size_t size) {
  // Hashes each piece just before it is written, while it is in the CPU's cache.
  constexpr size_t kPiece = 4 << 20;
  TRAINERD_CHECK(fd_.is_open());
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const size_t piece = std::min(size, kPiece);
    hash_.Update(at, piece);
    for (size_t done = 0; done < piece;) {
      const ssize_t written = write(fd_.get(), at + done, piece - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        return ErrnoStatus(errno, absl::StrCat("write ", path_, " (", written_bytes_, " of ",
                                               expected_bytes_, " bytes written)"));
      }
      done += static_cast<size_t>(written);
      written_bytes_ += written;
    }
    // Starts the write to the disk while the next piece is hashed, which shortens the fsync at the
    // end. This is advice only: fsync reports a failure.
    sync_file_range(fd_.get(), written_bytes_ - static_cast<int64_t>(piece),
                    static_cast<int64_t>(piece), SYNC_FILE_RANGE_WRITE);
    at += piece;
    size -= piece;
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsWriter::Result> SafetensorsWriter::Finish() {
  TRAINERD_CHECK(written_bytes_ == expected_bytes_);
  if (fsync(fd_.get()) != 0) return ErrnoStatus(errno, absl::StrCat("fsync ", path_));
  if (close(fd_.Release()) != 0) return ErrnoStatus(errno, absl::StrCat("close ", path_));
  return Result{.size_bytes = written_bytes_, .xxh3 = hash_.Digest()};
}

}  // namespace trainerd::engine
