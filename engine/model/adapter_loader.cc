// SPDX-License-Identifier: Apache-2.0
#include "engine/model/adapter_loader.h"

#include <ATen/ops/from_blob.h>

#include <string_view>

#include "engine/model/stored_dtype.h"
#include "engine/platform/torch_status.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status LoadAdapter(const AdapterFolder& folder, ParameterSet& parameters) {
  TRAINERD_CHECK(parameters.adapter() != nullptr);
  return CatchTorch([&] {
    for (const WeightSpec& spec : AdapterWeights(*parameters.adapter())) {
      const Parameter* parameter = parameters.Find(spec.name);
      TRAINERD_CHECK(parameter != nullptr);
      const std::string_view bytes = folder.Bytes(spec.name);
      // copy_ only reads the mapping; from_blob requires a mutable pointer.
      parameter->master.copy_(
          at::from_blob(const_cast<char*>(bytes.data()), spec.shape,
                        at::TensorOptions().dtype(ScalarTypeOf(folder.DtypeOf(spec.name)))));
    }
    parameters.PublishCompute();
  });
}

}  // namespace trainerd::engine
