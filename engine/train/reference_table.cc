// SPDX-License-Identifier: Apache-2.0
#include "engine/train/reference_table.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

void ReferenceTable::Add(int64_t index, double chosen, double rejected) {
  TRAINERD_CHECK(indexes_.empty() || indexes_.back() < index);
  indexes_.push_back(index);
  values_.push_back({chosen, rejected});
}

absl::StatusOr<at::Tensor> ReferenceTable::Of(const Microbatch& batch, at::Device device) const {
  const at::Tensor result =
      at::empty({batch.num_documents() / 2, 2}, at::TensorOptions().dtype(at::kDouble));
  double* out = result.mutable_data_ptr<double>();
  for (size_t i = 0; i < batch.examples.size(); i += 2) {
    const int64_t index = batch.examples[i];
    const auto found = std::lower_bound(indexes_.begin(), indexes_.end(), index);
    if (found == indexes_.end() || *found != index) {
      return absl::InternalError(
          absl::StrCat("the pair ", index, " has no log-probabilities under the reference"));
    }
    const std::array<double, 2>& values = values_[static_cast<size_t>(found - indexes_.begin())];
    out = std::copy(values.begin(), values.end(), out);
  }
  return result.to(device);
}

}  // namespace trainerd::engine
