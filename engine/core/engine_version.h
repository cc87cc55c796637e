// SPDX-License-Identifier: Apache-2.0
// Version that checkpoints carry. Raise it with each change that alters the numbers of a run.
#pragma once

namespace trainerd::engine {

inline constexpr char kEngineVersion[] = "0.1.0";

}  // namespace trainerd::engine
