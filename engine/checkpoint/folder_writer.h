// SPDX-License-Identifier: Apache-2.0
// A folder that appears under its final name only complete, hashed and durable: temporary name →
// files, fsync → MANIFEST.json, fsync → fence → rename → fsync of the parent → read back.
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

// Removes the temporary folder when it is destroyed without a successful Publish. Not thread-safe.
class FolderWriter {
 public:
  // Creates `temporary` (absolute), which must lie beside the final name; removes what is there.
  // Missing parents are made, and their names are durable, so that a published folder is found
  // after a power cut.
  static absl::StatusOr<std::unique_ptr<FolderWriter>> Create(const std::string& temporary);
  ~FolderWriter();
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;

  const std::string& path() const { return path_; }
  // Writes one small file, fsynced. `name` is a plain file name.
  absl::Status WriteText(const std::string& name, const std::string& contents);
  // Takes over files that somebody else wrote into path() and fsynced.
  void Add(const std::map<std::string, ManifestFile>& files);

  // Completes `manifest` with the files, runs `fence`, renames to `final_path` (replaced durably if
  // it exists) and verifies by reading every byte back from the disk. Errors: those of `fence`;
  // ResourceExhausted when the disk is full; DataLoss when what is read differs, and then
  // `final_path` is gone.
  absl::Status Publish(Manifest manifest, const std::string& final_path,
                       const std::function<absl::Status()>& fence);

 private:
  explicit FolderWriter(std::string path) : path_(std::move(path)) {}

  const std::string path_;
  std::map<std::string, ManifestFile> files_;
  bool published_ = false;
};

// Reads the manifest of `folder` and every file that it names back from the disk (not from the page
// cache) and compares them.
absl::Status VerifyFromDisk(const std::string& folder);

// Copies every file that `manifest` names into `writer`, fsynced and compared with the manifest's
// hashes.
absl::Status CopyFolder(const std::string& from, const Manifest& manifest, FolderWriter& writer);

}  // namespace trainerd::engine
