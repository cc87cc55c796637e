// SPDX-License-Identifier: Apache-2.0
// MANIFEST.json of a checkpoint or final model folder: size and XXH3-128 of each file, and where
// the folder belongs. Written by the worker, verified by the worker after the rename and by the
// daemon before a resume point is chosen.
#pragma once

#include <cstdint>
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
  // Trained on from the beginning of the lineage; 0 in manifests of trainerd before API revision 2.
  int64_t tokens = 0;
  std::map<std::string, ManifestFile> files;  // every file of the folder but the manifest itself

  int64_t total_bytes() const;
};

inline constexpr char kManifestName[] = "MANIFEST.json";

std::string ManifestToJson(const Manifest& manifest);
absl::StatusOr<Manifest> ParseManifest(const std::string& json);
// Reads the folder's manifest. NotFound when there is none.
absl::StatusOr<Manifest> ReadManifest(const std::string& folder);
// Reads every file back and compares size and hash. DataLoss names the file and what differs.
absl::Status VerifyFolder(const std::string& folder, const Manifest& manifest);
// The manifest's own path and those of its files; the manifest's alone where that cannot be read.
std::vector<std::string> ManifestPaths(const std::string& folder);
// 16 bytes: XXH3-128 of the manifest file's bytes.
absl::StatusOr<std::string> ManifestDigest(const std::string& folder);

}  // namespace trainerd
