// SPDX-License-Identifier: Apache-2.0
// Log-probabilities of the pairs of one set (training or validation) under the reference, by
// example. Memory: 24 bytes for each pair.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/data/batches/batch.h"

namespace trainerd::engine {

class ReferenceTable {
 public:
  // `index`: TokenExample::index of both examples, above those added before.
  void Add(int64_t index, double chosen, double rejected);
  int64_t size() const { return static_cast<int64_t>(indexes_.size()); }

  // fp64 [pairs, 2] of a microbatch of pairs, on `device`. Errors: Internal for another pair.
  absl::StatusOr<at::Tensor> Of(const Microbatch& batch, at::Device device) const;

 private:
  std::vector<int64_t> indexes_;
  std::vector<std::array<double, 2>> values_;
};

}  // namespace trainerd::engine
