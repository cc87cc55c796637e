// SPDX-License-Identifier: Apache-2.0
// train.freeze: which parameters do not train. No LibTorch.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/config/model_config.h"

namespace trainerd::engine {

// Hugging Face names of the parameters that do not train.
using FrozenNames = std::set<std::string>;

// The parameters of the model that match one of `patterns`, in which * stands for any text (also
// none). A tied head is not a parameter of its own: it trains if and only if the embedding does. In
// a vision-language model, the names of a text model ("model.layers.0.*") match too; patterns of
// its vision part change nothing, because that is frozen.
// Errors: InvalidArgument for a pattern that matches nothing, and if nothing would train.
absl::StatusOr<FrozenNames> ResolveFreeze(const ModelConfig& config,
                                          const std::vector<std::string>& patterns);

// Whether `name` matches `pattern`. Cost: O(name × pattern) at most.
bool MatchesPattern(std::string_view pattern, std::string_view name);

}  // namespace trainerd::engine
