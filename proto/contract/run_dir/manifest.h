// SPDX-License-Identifier: Apache-2.0
// MANIFEST.json of a checkpoint or final model folder: size and XXH3-128 of each file, and the job,
// attempt and step that wrote the folder. The worker writes it and verifies the folder after the
// rename; the daemon verifies the folder before it chooses a resume point.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd {

struct ManifestFile {
  int64_t size_bytes = 0;
  std::string xxh3_hex;
};

struct Manifest {
  int version = 1;
  std::string job;  // jobs/{id}
  int32_t attempt = 0;
  int64_t step = 0;
  std::string parent;  // resource name; "" = none
  std::string kind;    // "checkpoint" | "final"
  std::string config_digest_hex;
  std::string create_time;  // RFC 3339, UTC
  bool has_optimizer = false;
  // Holds a LoRA adapter, not the whole model; false in manifests before API revision 5.
  bool adapter = false;
  // Trained on from the beginning of the lineage; 0 in manifests of trainerd before API revision 2.
  int64_t tokens = 0;
  // Every file of the folder except the manifest itself.
  std::map<std::string, ManifestFile> files;

  int64_t total_bytes() const;
};

inline constexpr char kManifestName[] = "MANIFEST.json";

std::string ManifestToJson(const Manifest& manifest);
absl::StatusOr<Manifest> ParseManifest(const std::string& json);
// Reads the manifest of a folder. Errors: NotFound; DataLoss; FailedPrecondition if it is newer.
absl::StatusOr<Manifest> ReadManifest(const std::string& folder);
// Reads every file and compares size and hash. `is_cancelled` (null = never) is called for each
// MiB. Errors: DataLoss with the file and the difference; Cancelled.
absl::Status VerifyFolder(const std::string& folder, const Manifest& manifest,
                          const std::function<bool()>& is_cancelled = nullptr);
// Paths of the manifest and of its files; only that of the manifest if it cannot be read.
std::vector<std::string> ManifestPaths(const std::string& folder);
// 16 bytes: XXH3-128 of the manifest file's bytes.
absl::StatusOr<std::string> ManifestDigest(const std::string& folder);

}  // namespace trainerd
