// SPDX-License-Identifier: Apache-2.0
#include "engine/model/stored_dtype.h"

#include "proto/base/status_macros.h"

namespace trainerd::engine {

at::ScalarType ScalarTypeOf(StoredDtype dtype) {
  TRAINERD_CHECK(dtype == StoredDtype::kFloat32 || dtype == StoredDtype::kBFloat16 ||
                 dtype == StoredDtype::kFloat16 || dtype == StoredDtype::kUInt8);
  if (dtype == StoredDtype::kFloat32) return at::kFloat;
  if (dtype == StoredDtype::kUInt8) return at::kByte;
  return dtype == StoredDtype::kBFloat16 ? at::kBFloat16 : at::kHalf;
}

StoredDtype StoredDtypeOf(at::ScalarType type) {
  TRAINERD_CHECK(type == at::kFloat || type == at::kBFloat16 || type == at::kHalf ||
                 type == at::kByte);
  if (type == at::kFloat) return StoredDtype::kFloat32;
  if (type == at::kByte) return StoredDtype::kUInt8;
  return type == at::kBFloat16 ? StoredDtype::kBFloat16 : StoredDtype::kFloat16;
}

}  // namespace trainerd::engine
