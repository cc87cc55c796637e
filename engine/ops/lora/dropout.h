// SPDX-License-Identifier: Apache-2.0
// Dropout whose random numbers are a pure function of the step, the token and the column: a resumed
// job, a recomputed activation and the backward draw the same ones without storing them. A token is
// its document and its position there, so that the numbers depend neither on how documents are
// packed into sequences nor on how sequences are grouped into microbatches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace trainerd::engine {

// What the random numbers of a forward pass depend on besides the column and the term.
struct DropoutRows {
  // Of the step.
  uint64_t key = 0;
  // int64 [T], one per row of x; equal for equal tokens. Undefined: no dropout.
  at::Tensor row_keys_T;
};

// x with each element set to 0 with `probability`, the others divided by 1 − probability. The
// gradient of x is Dropout of the result's gradient. `stream` separates the uses in one step.
at::Tensor Dropout(const at::Tensor& x_TD, double probability, uint64_t stream,
                   const DropoutRows& rows);

}  // namespace trainerd::engine
