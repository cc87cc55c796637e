// SPDX-License-Identifier: Apache-2.0
// The tokens at which generation ends: "eos_token_id" of generation_config.json, or of config.json
// where the folder has no generation_config.json, as transformers reads them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::engine {

// Ids of "eos_token_id", a number or a list, in both files of `folder`, which may be missing.
// Errors: InvalidArgument that names the file and the key.
absl::StatusOr<std::vector<int32_t>> EosIdsOf(const std::string& folder);

// The text of generation_config.json with `id` among its "eos_token_id"; "" if the file lists `id`
// already. If the folder has no such file, the text is that of a new one with the special tokens of
// config.json. Errors: InvalidArgument that names the file and the key.
absl::StatusOr<std::string> GenerationConfigWith(const std::string& folder, int32_t id);

}  // namespace trainerd::engine
