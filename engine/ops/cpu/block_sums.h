// SPDX-License-Identifier: Apache-2.0
// Sums over rows that were made block by block (RowBlocks), so that they are the same for any
// number of threads.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainerd::engine::cpu {

// Adds the rows of fp32 partial [blocks, columns], of any row stride, in order to out, which has
// `columns` elements.
void AddBlocks(const at::Tensor& partial, const at::Tensor& out);

}  // namespace trainerd::engine::cpu
