// SPDX-License-Identifier: Apache-2.0
// Names of checkpoint folders: step-00000500-a2 holds 500 applied steps, published by attempt 2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trainerd::engine {

struct CheckpointId {
  int64_t step = 0;
  int32_t attempt = 0;
};

std::string CheckpointName(const CheckpointId& id);
// nullopt for a name that CheckpointName does not return.
std::optional<CheckpointId> ParseCheckpointName(std::string_view name);

// .tmp-a<attempt>-<what>: where an attempt writes before the rename.
std::string TemporaryName(int32_t attempt, std::string_view what);
// The attempt in a temporary name; nullopt for other names.
std::optional<int32_t> TemporaryAttempt(std::string_view name);

}  // namespace trainerd::engine
