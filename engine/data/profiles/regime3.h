// SPDX-License-Identifier: Apache-2.0
// Profile regime3: every answer is enclosed in <<ANS_START>> and <<ANS_END>>, and the system
// message is the job's.
#pragma once

#include "engine/data/profiles/profile.h"

namespace trainerd::engine {

class Regime3Profile : public Profile {
 public:
  void Transform(int64_t index, const std::string& system_prompt,
                 nlohmann::ordered_json* messages) const override;
};

}  // namespace trainerd::engine
