// SPDX-License-Identifier: Apache-2.0
// Writes a folder that gets its final name only when it is complete, hashed and durable: temporary
// name → files, fsync → MANIFEST.json, fsync → fence → rename → fsync of the parent → read back.
// Checkpoints and the final model are written this way.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/contract/run_dir/manifest.h"

namespace trainerd::engine {

// Its destructor removes the temporary folder unless Publish succeeded. Not thread-safe.
class FolderWriter {
 public:
  // Creates `temporary` (absolute), which must be in the same folder as the final name; removes
  // what exists there. Creates missing parents and makes their names durable, so that a published
  // folder survives a power cut.
  static absl::StatusOr<std::unique_ptr<FolderWriter>> Create(const std::string& temporary);
  ~FolderWriter();
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;

  const std::string& path() const { return path_; }
  // Writes one small file, fsynced. `name` is a plain file name.
  absl::Status WriteText(const std::string& name, const std::string& contents);
  // Adds files that were written to path() and fsynced by other code.
  void Add(const std::map<std::string, ManifestFile>& files);

  // Adds the files to `manifest`, runs `fence`, renames to `final_path` (replaced durably if it
  // exists) and verifies it by reading every byte back from the disk. Errors: those of `fence`;
  // ResourceExhausted if the disk is full; DataLoss if the bytes read back differ: `final_path` is
  // removed then.
  absl::Status Publish(Manifest manifest, const std::string& final_path,
                       const std::function<absl::Status()>& fence);

 private:
  explicit FolderWriter(std::string path) : path_(std::move(path)) {}

  const std::string path_;
  std::map<std::string, ManifestFile> files_;
  bool published_ = false;
};

// Reads every file that the manifest of `folder` names from the disk (not from the page cache) and
// compares it with the manifest.
absl::Status VerifyFromDisk(const std::string& folder);

// Copies every file that `manifest` names into `writer`, fsyncs it and compares it with its hash.
absl::Status CopyFolder(const std::string& from, const Manifest& manifest, FolderWriter& writer);

}  // namespace trainerd::engine
