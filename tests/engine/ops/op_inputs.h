// SPDX-License-Identifier: Apache-2.0
// Inputs that several tests of the op table take.
#pragma once

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/ops/op_table.h"

namespace trainerd::engine {

inline constexpr SurpriseMeasure kMeasures[] = {
    SurpriseMeasure::kEntropy, SurpriseMeasure::kConfidence, SurpriseMeasure::kPerplexity,
    SurpriseMeasure::kMargin};

// Documents whose bounds are cu_seqlens, on the CPU.
inline Documents MakeDocuments(const std::vector<int32_t>& bounds) {
  Documents documents{.cu_seqlens = at::tensor(bounds, at::TensorOptions().dtype(at::kInt)),
                      .cu_seqlens_host = bounds};
  for (size_t i = 0; i + 1 < bounds.size(); ++i)
    documents.max_seqlen = std::max<int64_t>(documents.max_seqlen, bounds[i + 1] - bounds[i]);
  return documents;
}

}  // namespace trainerd::engine
