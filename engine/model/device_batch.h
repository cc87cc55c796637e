// SPDX-License-Identifier: Apache-2.0
// A microbatch on the device that computes with it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/data/batches/batch.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine {

// A Microbatch on its device.
struct DeviceBatch {
  // What the loss of a pair needs. Empty if the documents are no pairs.
  struct Answers {
    // Targets of each document, on the host.
    std::vector<int64_t> targets;
    // int64 [target tokens]: the document of each.
    at::Tensor documents;
    // fp64 [documents]: labels, at least 1.
    at::Tensor tokens;
  };

  // int64 [T].
  at::Tensor ids;
  at::Tensor positions;
  // int64 [T]; kIgnoreIndex where a token carries no loss.
  at::Tensor targets;
  // int64 [target tokens]: their indices in the sequence.
  at::Tensor target_rows;
  // fp32 [target tokens]: factors of their losses; undefined: 1.
  at::Tensor target_weights;
  // The example of each document, on the host. Empty if the microbatch does not name its examples.
  std::vector<int64_t> examples;
  Documents documents;
  Answers answers;
};

// ATen's exceptions pass through (wrap calls in CatchTorch).
DeviceBatch ToDevice(const Microbatch& batch, at::Device device);

// `values`, one per document, for each token: int64 [T].
at::Tensor PerToken(const DeviceBatch& batch, const std::vector<int32_t>& values);

}  // namespace trainerd::engine
