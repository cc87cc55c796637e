// SPDX-License-Identifier: Apache-2.0
// A checkpoint folder with a manifest, and the v1.Checkpoint that it describes: for the daemon that
// scans a run directory and for the worker that published the folder.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "proto/contract/run_dir/manifest.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd {

struct FoundCheckpoint {
  // The folder's name: step-00000500-a2.
  std::string id;
  // Absolute.
  std::string path;
  Manifest manifest;
  // XXH3-128 of MANIFEST.json, 16 bytes.
  std::string manifest_digest;
};

// Reads the manifest of a checkpoint folder and its digest. Verifies no file.
// Errors: those of ReadManifest.
absl::StatusOr<FoundCheckpoint> ReadCheckpointFolder(const std::string& path);

// Whether `folder` holds a LoRA adapter and no whole model: by its manifest, or by its files if it
// has none.
bool HoldsAdapter(const std::string& folder);

// The checkpoint that the manifest describes; `verified` and `superseded` are false.
v1::Checkpoint ToCheckpoint(const FoundCheckpoint& found);

}  // namespace trainerd
