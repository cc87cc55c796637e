// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/cpu/block_sums.h"

#include "engine/ops/cpu/parallel.h"
#include "engine/ops/cpu/typed.h"

namespace trainerd::engine::cpu {

void AddBlocks(const at::Tensor& partial, const at::Tensor& out) {
  const int64_t blocks = partial.size(0), columns = partial.size(1);
  const float* from = Data<float>(partial);
  float* to = Data<float>(out);
  at::parallel_for(0, columns, /*grain_size=*/4096, [&](int64_t begin, int64_t end) {
    for (int64_t block = 0; block < blocks; ++block) {
      for (int64_t i = begin; i < end; ++i) to[i] += from[block * partial.stride(0) + i];
    }
  });
}

}  // namespace trainerd::engine::cpu
