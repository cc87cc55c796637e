// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/folder_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/fd.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCopyBytes = 8 << 20;
// Less the umask, which is private for the run directory.
constexpr mode_t kFolderMode = 0777;

absl::StatusOr<ManifestFile> CopyFile(const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const Fd in, OpenRegularFile(from));
  const Fd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (out.get() < 0) return ErrnoStatus(errno, absl::StrCat("create ", to));
  ManifestFile file;
  Xxh3Stream hash;
  std::vector<char> buffer(kCopyBytes);
  while (true) {
    const ssize_t got = ::read(in.get(), buffer.data(), buffer.size());
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, absl::StrCat("read ", from));
    }
    if (got == 0) break;
    hash.Update(buffer.data(), static_cast<size_t>(got));
    file.size_bytes += got;
    RETURN_IF_ERROR(WriteAll(out.get(), {buffer.data(), static_cast<size_t>(got)}, to));
  }
  if (::fsync(out.get()) != 0) return ErrnoStatus(errno, absl::StrCat("fsync ", to));
  file.xxh3_hex = ToHex(hash.Digest());
  return file;
}

// Renames `from` to `to`. rename(2) replaces only an empty folder, so an existing `to` is renamed
// first.
absl::Status ReplaceFolder(const std::string& from, const std::string& to) {
  std::error_code error;
  if (!fs::exists(to, error)) return RenameDurable(from, to);
  const std::string old = absl::StrCat(from, "-replaced");
  RETURN_IF_ERROR(RemoveAll(old));
  RETURN_IF_ERROR(RenameDurable(to, old));
  RETURN_IF_ERROR(RenameDurable(from, to));
  return RemoveAll(old);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FolderWriter>> FolderWriter::Create(const std::string& temporary) {
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(MakeDirectories(fs::path(temporary).parent_path().string(), kFolderMode));
  std::error_code error;
  fs::create_directory(temporary, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("create folder ", temporary));
  return std::unique_ptr<FolderWriter>(new FolderWriter(temporary));
}

FolderWriter::~FolderWriter() {
  // If this fails, the next attempt removes the folder at its start.
  if (!published_) RemoveAll(path_).IgnoreError();
}

absl::Status FolderWriter::WriteText(const std::string& name, const std::string& contents) {
  RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(path_, "/", name), contents, 0644));
  files_[name] = {static_cast<int64_t>(contents.size()), ToHex(Xxh3(contents))};
  return absl::OkStatus();
}

void FolderWriter::Add(const std::map<std::string, ManifestFile>& files) {
  for (const auto& [name, file] : files) files_[name] = file;
}

absl::Status FolderWriter::Publish(Manifest manifest, const std::string& final_path,
                                   const std::function<absl::Status()>& fence) {
  manifest.files = files_;
  RETURN_IF_ERROR(
      WriteFileAtomic(absl::StrCat(path_, "/", kManifestName), ManifestToJson(manifest), 0644));
  for (const auto& [name, file] : files_) {
    const std::string folder = fs::path(name).parent_path().string();
    if (!folder.empty()) RETURN_IF_ERROR(FsyncPath(absl::StrCat(path_, "/", folder)));
  }
  RETURN_IF_ERROR(FsyncPath(path_));
  RETURN_IF_ERROR(fence());
  RETURN_IF_ERROR(ReplaceFolder(path_, final_path));
  published_ = true;
  const absl::Status verified = VerifyFromDisk(final_path);
  if (verified.ok()) return verified;
  // A damaged folder must not keep its final name.
  RETURN_IF_ERROR(RenameDurable(final_path, path_));
  RETURN_IF_ERROR(RemoveAll(path_));
  return verified;
}

absl::Status VerifyFromDisk(const std::string& folder) {
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  for (const auto& [name, file] : manifest.files) {
    const Fd fd(::open(absl::StrCat(folder, "/", name).c_str(), O_RDONLY | O_CLOEXEC));
    // All pages are clean, because the files were fsynced. VerifyFolder reports a file that cannot
    // be opened.
    if (fd.get() >= 0) ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  }
  return VerifyFolder(folder, manifest);
}

absl::Status CopyFolder(const std::string& from, const Manifest& manifest, FolderWriter& writer) {
  for (const auto& [name, expected] : manifest.files) {
    const std::string source = absl::StrCat(from, "/", name);
    const std::string target = absl::StrCat(writer.path(), "/", name);
    RETURN_IF_ERROR(MakeDirectories(fs::path(target).parent_path().string(), kFolderMode));
    ASSIGN_OR_RETURN(const ManifestFile copied, CopyFile(source, target));
    if (copied.size_bytes != expected.size_bytes || copied.xxh3_hex != expected.xxh3_hex) {
      return absl::DataLossError(
          absl::StrCat(source, " changed after it was written: it differs from ", kManifestName));
    }
    writer.Add({{name, copied}});
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
