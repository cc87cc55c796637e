// SPDX-License-Identifier: Apache-2.0
// NaN and infinity in the bytes of a tensor. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/formats/safetensors.h"

namespace trainerd::engine {

// Index of the first element that is NaN or infinite; nullopt if there is none. `dtype` must be
// F32, BF16 or F16. Cost: one pass over the bytes.
std::optional<int64_t> FirstNonFinite(std::string_view bytes, StoredDtype dtype);

}  // namespace trainerd::engine
