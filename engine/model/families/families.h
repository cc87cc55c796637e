// SPDX-License-Identifier: Apache-2.0
// The supported model families. Only this code reads "model_type". No LibTorch.
#pragma once

#include <string>
#include <string_view>

#include "engine/model/families/family.h"

namespace trainerd::engine {

// nullptr if the family is not supported.
const Family* FindFamily(std::string_view model_type);
// The supported model types, as "llama, mistral, …".
std::string SupportedFamilies();

}  // namespace trainerd::engine
