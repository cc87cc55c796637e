// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/lora/dropout.h"

#include "engine/ops/op_table.h"
#include "proto/base/split_mix.h"

namespace trainerd::engine {

at::Tensor Dropout(const at::Tensor& x_TD, double probability, uint64_t stream,
                   const DropoutRows& rows) {
  return OpsFor(x_TD.device())
      .dropout(x_TD, rows.row_keys_T, rows.key + SplitMix64(stream), probability);
}

}  // namespace trainerd::engine
