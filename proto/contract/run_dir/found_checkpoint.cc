// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/run_dir/found_checkpoint.h"

#include "google/protobuf/util/time_util.h"
#include "proto/base/directory.h"
#include "proto/base/hex.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd {

absl::StatusOr<FoundCheckpoint> ReadCheckpointFolder(const std::string& path) {
  FoundCheckpoint found{.id = path.substr(path.find_last_of('/') + 1), .path = path};
  ASSIGN_OR_RETURN(found.manifest, ReadManifest(path));
  ASSIGN_OR_RETURN(found.manifest_digest, ManifestDigest(path));
  return found;
}

bool HoldsAdapter(const std::string& folder) {
  if (const absl::StatusOr<Manifest> manifest = ReadManifest(folder); manifest.ok())
    return manifest->adapter;
  return PathExists(folder + "/adapter_config.json") && !PathExists(folder + "/config.json");
}

v1::Checkpoint ToCheckpoint(const FoundCheckpoint& found) {
  const Manifest& manifest = found.manifest;
  v1::Checkpoint checkpoint;
  checkpoint.set_name(CheckpointName(manifest.job, found.id));
  checkpoint.set_job(manifest.job);
  checkpoint.set_step(manifest.step);
  checkpoint.set_attempt(manifest.attempt);
  if (!google::protobuf::util::TimeUtil::FromString(manifest.create_time,
                                                    checkpoint.mutable_create_time())) {
    checkpoint.clear_create_time();
  }
  checkpoint.set_size_bytes(manifest.total_bytes());
  checkpoint.set_manifest_digest(found.manifest_digest);
  checkpoint.set_has_optimizer(manifest.has_optimizer);
  checkpoint.set_adapter(manifest.adapter);
  checkpoint.set_path(found.path);
  checkpoint.set_parent(manifest.parent);
  checkpoint.set_config_digest(FromHex(manifest.config_digest_hex).value_or(""));
  checkpoint.set_tokens(manifest.tokens);
  return checkpoint;
}

}  // namespace trainerd
