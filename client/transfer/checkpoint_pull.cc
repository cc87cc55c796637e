// SPDX-License-Identifier: Apache-2.0
#include "client/transfer/checkpoint_pull.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/transfer/retry.h"
#include "proto/base/atomic_file.h"
#include "proto/base/crc32c.h"
#include "proto/base/directory.h"
#include "proto/base/fd.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/manifest.h"

namespace trainerd::client {
namespace {

// Less the umask: the folder is the user's.
constexpr mode_t kFolderMode = 0777;
constexpr mode_t kFileMode = 0666;
constexpr size_t kReadBytes = 1 << 20;
constexpr int64_t kMaxManifestBytes = 4 << 20;
// How long a stream can be silent before the interrupt is checked again.
constexpr absl::Duration kTick = absl::Milliseconds(200);

using ChunkSink = std::function<absl::Status(const std::string& data)>;

// Receives one file from `offset` on, over as many calls as it takes.
class FileDownload {
 public:
  FileDownload(Connection& connection, TransferRetry& retry, std::string model)
      : connection_(connection), retry_(retry), model_(std::move(model)) {}

  // Errors: those of the daemon and of `sink`; DataLoss if the file has another size than
  // `expected_bytes` (-1: unknown).
  absl::Status Fetch(const std::string& file, int64_t offset, int64_t expected_bytes,
                     const ChunkSink& sink) {
    size_ = expected_bytes;
    offset_ = offset;
    while (true) {
      const absl::Status status = FetchOnce(file, sink);
      if (status.ok() && size_ >= 0 && offset_ == size_) return absl::OkStatus();
      if (!sink_status_.ok()) return sink_status_;
      // A stream that ends early, or a damaged chunk, is as good as a lost connection.
      RETURN_IF_ERROR(retry_.Continue(
          status.ok() ? absl::UnavailableError(absl::StrCat(file, " ended at byte ", offset_))
                      : status));
    }
  }

 private:
  absl::Status FetchOnce(const std::string& file, const ChunkSink& sink) {
    v1::DownloadCheckpointRequest request;
    request.set_name(model_);
    request.set_file(file);
    request.set_offset(offset_);
    const auto stream = connection_.DownloadCheckpoint(request);
    v1::FileChunk chunk;
    while (true) {
      RETURN_IF_ERROR(retry_.CheckInterrupt());
      switch (stream->Next(kTick, &chunk)) {
        case StreamResult::kNothingYet:
          break;
        case StreamResult::kEnd:
          return stream->status();
        case StreamResult::kMessage:
          RETURN_IF_ERROR(Take(file, chunk, sink));
          break;
      }
    }
  }

  absl::Status Take(const std::string& file, const v1::FileChunk& chunk, const ChunkSink& sink) {
    if (size_ >= 0 && chunk.file_bytes() != size_) {
      return sink_status_ = absl::DataLossError(
                 absl::StrCat(file, " has ", chunk.file_bytes(),
                              " bytes on the daemon's machine, its manifest says ", size_));
    }
    size_ = chunk.file_bytes();
    if (chunk.offset() != offset_ || Crc32c(chunk.data()) != chunk.crc32c())
      return absl::UnavailableError(absl::StrCat("a chunk of ", file, " arrived damaged"));
    sink_status_ = sink(chunk.data());
    RETURN_IF_ERROR(sink_status_);
    offset_ += static_cast<int64_t>(chunk.data().size());
    if (!chunk.data().empty()) retry_.Progressed();
    return absl::OkStatus();
  }

  Connection& connection_;
  TransferRetry& retry_;
  const std::string model_;
  int64_t size_ = -1;
  int64_t offset_ = 0;
  // An error that no other call can mend.
  absl::Status sink_status_;
};

class Pull {
 public:
  Pull(Connection& connection, const PullOptions& options)
      : options_(options),
        staging_(options.folder + ".part"),
        retry_(connection, options.is_interrupted),
        download_(connection, retry_, options.model) {}

  absl::StatusOr<PullResult> Run() {
    RETURN_IF_ERROR(FetchManifest());
    result_.files = static_cast<int64_t>(manifest_.files.size()) + 1;
    result_.bytes = manifest_.total_bytes() + static_cast<int64_t>(json_.size());
    ASSIGN_OR_RETURN(const bool done, IsThere());
    if (done) return result_;
    RETURN_IF_ERROR(OpenStaging());
    for (const auto& [name, file] : manifest_.files) RETURN_IF_ERROR(PullFile(name, file));
    RETURN_IF_ERROR(FsyncPath(staging_));
    RETURN_IF_ERROR(RenameDurable(staging_, options_.folder));
    return result_;
  }

 private:
  absl::Status FetchManifest() {
    RETURN_IF_ERROR(download_.Fetch("", 0, -1, [&](const std::string& data) -> absl::Status {
      json_ += data;
      if (static_cast<int64_t>(json_.size()) <= kMaxManifestBytes) return absl::OkStatus();
      return absl::DataLossError(absl::StrCat("the manifest of ", options_.model, " has more than ",
                                              kMaxManifestBytes, " bytes"));
    }));
    absl::StatusOr<Manifest> manifest = ParseManifest(json_);
    if (!manifest.ok()) return Annotate(manifest.status(), options_.model);
    manifest_ = *std::move(manifest);
    return absl::OkStatus();
  }

  // Whether the folder is complete. An empty one is replaced.
  absl::StatusOr<bool> IsThere() {
    if (!NameExists(options_.folder)) return false;
    const absl::StatusOr<std::vector<std::string>> names = ListDirectory(options_.folder);
    if (names.ok() && names->empty()) return false;
    const absl::StatusOr<std::string> json = ReadFile(ManifestPath(options_.folder));
    if (json.ok() && *json == json_ && VerifyFolder(options_.folder, manifest_).ok()) return true;
    return absl::AlreadyExistsError(absl::StrCat(options_.folder, " exists and is not a copy of ",
                                                 options_.model,
                                                 "; remove it, or name another folder"));
  }

  // Opens FOLDER.part, with what an interrupted pull of the same files has left.
  absl::Status OpenStaging() {
    RETURN_IF_ERROR(MakeDirectories(staging_, kFolderMode));
    lock_.Reset(::open(staging_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock_.is_open()) return ErrnoStatus(errno, "open " + staging_);
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("another trainctl pulls into ", options_.folder, "; wait for its end"));
    }
    const absl::StatusOr<std::string> json = ReadFile(ManifestPath(staging_));
    if (json.ok() && *json == json_) return CheckSpace();
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(staging_));
    if (!names.empty() && !json.ok()) {
      return absl::AlreadyExistsError(absl::StrCat(
          staging_, " exists and is not the rest of a pull; remove it, or name another folder"));
    }
    for (const std::string& name : names) RETURN_IF_ERROR(RemoveAll(staging_ + "/" + name));
    RETURN_IF_ERROR(CheckSpace());
    return WriteFileAtomic(ManifestPath(staging_), json_, kFileMode);
  }

  absl::Status CheckSpace() const {
    int64_t there = 0;
    for (const auto& [name, file] : manifest_.files) {
      struct stat info;
      if (::stat(PathOf(name).c_str(), &info) == 0) there += info.st_size;
    }
    const absl::StatusOr<int64_t> free = FreeBytes(staging_);
    const int64_t needed = manifest_.total_bytes() - there;
    if (!free.ok() || *free >= needed) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat(
        options_.model, " needs ", FormatBytes(needed), " in ", ParentOf(options_.folder), ", ",
        FormatBytes(*free), " are free; free some space"));
  }

  // A file that differs from the manifest is fetched once more: what an earlier pull left can be
  // damaged.
  absl::Status PullFile(const std::string& name, const ManifestFile& expected) {
    absl::Status status = PullFileOnce(name, expected);
    if (!absl::IsDataLoss(status)) return status;
    if (::unlink(PathOf(name).c_str()) != 0 && errno != ENOENT)
      return ErrnoStatus(errno, "remove " + PathOf(name));
    status = PullFileOnce(name, expected);
    if (!absl::IsDataLoss(status)) return status;
    return Annotate(status, options_.model, " is damaged on the daemon's machine");
  }

  absl::Status PullFileOnce(const std::string& name, const ManifestFile& expected) {
    const std::string path = PathOf(name);
    RETURN_IF_ERROR(MakeDirectories(ParentOf(path), kFolderMode));
    const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode));
    if (!file.is_open()) return ErrnoStatus(errno, "open " + path);
    Xxh3Stream hash;
    ASSIGN_OR_RETURN(int64_t at, HashExisting(file.get(), path, expected.size_bytes, &hash));
    done_bytes_ += at;
    if (at < expected.size_bytes) {
      RETURN_IF_ERROR(download_.Fetch(name, at, expected.size_bytes,
                                      [&](const std::string& data) -> absl::Status {
                                        RETURN_IF_ERROR(WriteAll(file.get(), data, path));
                                        hash.Update(data.data(), data.size());
                                        Count(static_cast<int64_t>(data.size()));
                                        return absl::OkStatus();
                                      }));
    }
    const std::string found = ToHex(hash.Digest());
    if (found != expected.xxh3_hex) {
      done_bytes_ -= expected.size_bytes;
      return absl::DataLossError(absl::StrCat(name, " has the XXH3-128 ", found,
                                              ", its manifest says ", expected.xxh3_hex));
    }
    if (::fsync(file.get()) != 0) return ErrnoStatus(errno, "fsync " + path);
    return FsyncPath(ParentOf(path));
  }

  // Hashes what an interrupted pull has left, and returns its size; the file is then at its end.
  absl::StatusOr<int64_t> HashExisting(int fd, const std::string& path, int64_t size,
                                       Xxh3Stream* hash) const {
    struct stat info;
    if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat " + path);
    if (info.st_size > size && ::ftruncate(fd, 0) != 0)
      return ErrnoStatus(errno, "truncate " + path);
    std::string buffer(kReadBytes, '\0');
    int64_t at = 0;
    while (true) {
      RETURN_IF_ERROR(retry_.CheckInterrupt());
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoStatus(errno, "read " + path);
      if (got == 0) return at;
      hash->Update(buffer.data(), static_cast<size_t>(got));
      at += got;
    }
  }

  void Count(int64_t bytes) {
    done_bytes_ += bytes;
    result_.received_bytes += bytes;
    if (options_.on_progress != nullptr) options_.on_progress(done_bytes_, manifest_.total_bytes());
  }

  static std::string ManifestPath(const std::string& folder) {
    return absl::StrCat(folder, "/", kManifestName);
  }
  std::string PathOf(const std::string& name) const { return absl::StrCat(staging_, "/", name); }

  const PullOptions& options_;
  const std::string staging_;
  TransferRetry retry_;
  FileDownload download_;
  std::string json_;
  Manifest manifest_;
  // Of FOLDER.part: one pull at a time.
  Fd lock_;
  int64_t done_bytes_ = 0;
  PullResult result_;
};

}  // namespace

absl::StatusOr<PullResult> PullCheckpoint(Connection& connection, const PullOptions& options) {
  return Pull(connection, options).Run();
}

}  // namespace trainerd::client
