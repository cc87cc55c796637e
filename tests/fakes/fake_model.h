// SPDX-License-Identifier: Apache-2.0
// What the fake worker trains: a few numbers that change with every step, so that a lost, repeated
// or wrongly restored step shows in every later loss and in the bytes of the final model. Its
// folders have real manifests and are published by the real protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/contract/run_dir/manifest.h"

namespace trainerd::fakes {

class FakeModel {
 public:
  // `bytes` is the size of the weights.
  FakeModel(uint64_t seed, int64_t bytes);

  // Applies the next step and returns its loss, in [1, 2).
  double Step();
  int64_t step() const { return step_; }

  // Weights, "optimizer" and state files of a checkpoint, or the weights alone.
  absl::Status WriteFiles(const std::string& folder, bool with_state) const;
  absl::Status Load(const std::string& folder);

 private:
  const uint64_t seed_;
  int64_t step_ = 0;
  uint64_t mixed_ = 0;
  std::vector<uint64_t> weights_;
};

struct PublishOptions {
  std::string run_dir;
  std::string folder;  // absolute, where the folder goes; an existing one is replaced
  Manifest manifest;   // files are filled in
  bool with_state = true;
  std::function<void()> before_rename;  // all files are there, the rename is not
};

// Temporary folder, files, manifest, publisher check, rename, read back.
absl::StatusOr<Manifest> PublishFolder(const FakeModel& model, const PublishOptions& options);

}  // namespace trainerd::fakes
