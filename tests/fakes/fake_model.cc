// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/hash.h"
#include "proto/base/split_mix.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/attempt_files.h"

namespace trainerd::fakes {
namespace {

absl::Status WriteAndSync(const std::string& path, const std::string& contents) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "create " + path);
  size_t written = 0;
  while (written < contents.size()) {
    const ssize_t n = write(fd, contents.data() + written, contents.size() - written);
    if (n <= 0) {
      const int error = errno;
      close(fd);
      return ErrnoStatus(error, "write " + path);
    }
    written += static_cast<size_t>(n);
  }
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : ErrnoStatus(error, "fsync " + path);
}

absl::Status FillManifest(const std::string& folder, Manifest* manifest) {
  manifest->files.clear();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(entry.path().string()));
    manifest->files[entry.path().filename().string()] = {
        .size_bytes = static_cast<int64_t>(bytes.size()), .xxh3_hex = ToHex(Xxh3(bytes))};
  }
  manifest->create_time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  return absl::OkStatus();
}

absl::Status WriteAndRename(const FakeModel& model, const PublishOptions& options,
                            const std::string& temporary, Manifest* manifest) {
  std::filesystem::remove_all(temporary);
  RETURN_IF_ERROR(MakeDirectories(temporary));
  RETURN_IF_ERROR(model.WriteFiles(temporary, options.with_state));
  RETURN_IF_ERROR(FillManifest(temporary, manifest));
  RETURN_IF_ERROR(WriteFileAtomic(temporary + "/" + kManifestName, ManifestToJson(*manifest)));
  if (options.before_rename) options.before_rename();
  RETURN_IF_ERROR(CheckPublisher(options.run_dir, manifest->attempt));
  std::filesystem::remove_all(options.folder);
  return RenameDurable(temporary, options.folder);
}

}  // namespace

FakeModel::FakeModel(uint64_t seed, int64_t bytes)
    : seed_(seed), weights_(static_cast<size_t>(std::max<int64_t>(1, bytes / 8)), 0) {}

double FakeModel::Step() {
  ++step_;
  mixed_ = SplitMix64(mixed_ ^ SplitMix64(seed_ + static_cast<uint64_t>(step_)));
  weights_[static_cast<size_t>(step_) % weights_.size()] ^= mixed_;
  return 1.0 + static_cast<double>(mixed_ >> 11) * 0x1.0p-53;
}

absl::Status FakeModel::WriteFiles(const std::string& folder, bool with_state) const {
  std::string bytes(weights_.size() * sizeof(uint64_t), '\0');
  std::memcpy(bytes.data(), weights_.data(), bytes.size());
  RETURN_IF_ERROR(WriteAndSync(folder + "/model.safetensors", bytes));
  RETURN_IF_ERROR(WriteAndSync(folder + "/config.json", "{\"model_type\": \"fake\"}\n"));
  if (!with_state) return absl::OkStatus();
  RETURN_IF_ERROR(WriteAndSync(folder + "/optimizer.safetensors", std::string(64, 'o')));
  return WriteAndSync(folder + "/state.json", absl::StrCat(step_, " ", mixed_, "\n"));
}

absl::Status FakeModel::Load(const std::string& folder) {
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  RETURN_IF_ERROR(VerifyFolder(folder, manifest));
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(folder + "/model.safetensors"));
  ASSIGN_OR_RETURN(const std::string state, ReadFile(folder + "/state.json"));
  if (bytes.size() != weights_.size() * sizeof(uint64_t)) {
    return absl::FailedPreconditionError("the checkpoint's weights have another size");
  }
  std::memcpy(weights_.data(), bytes.data(), bytes.size());
  const std::vector<std::string> words = absl::StrSplit(state, absl::ByAnyChar(" \n"));
  if (words.size() < 2 || !absl::SimpleAtoi(words[0], &step_) ||
      !absl::SimpleAtoi(words[1], &mixed_)) {
    return absl::DataLossError("state.json does not parse");
  }
  return absl::OkStatus();
}

absl::StatusOr<Manifest> PublishFolder(const FakeModel& model, const PublishOptions& options) {
  const std::string temporary =
      absl::StrCat(options.run_dir, "/checkpoints/.tmp-a", options.manifest.attempt, "-",
                   options.manifest.kind, "-", options.manifest.step);
  Manifest manifest = options.manifest;
  const absl::Status status = WriteAndRename(model, options, temporary, &manifest);
  if (!status.ok()) {
    // Space that a failed checkpoint holds would keep the daemon from recording the failure.
    std::error_code ignored;
    std::filesystem::remove_all(temporary, ignored);
    return status;
  }
  RETURN_IF_ERROR(VerifyFolder(options.folder, manifest));
  return manifest;
}

}  // namespace trainerd::fakes
