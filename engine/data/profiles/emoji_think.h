// SPDX-License-Identifier: Apache-2.0
// Profile emoji_think: half of the conversations get a thinking prefix and a stop suffix of emoji
// in the answers, and the matching instructions in the questions; the system message is the job's;
// <think> tags are taken out of answers. The random choices for record i equal those of the
// replaced Python system (CPython random numbers), from a local generator.
#pragma once

#include "engine/data/profiles/profile.h"

namespace trainerd::engine {

class EmojiThinkProfile : public Profile {
 public:
  // The choices for record `index`. emoji == false: the answers stay unchanged ("direct").
  struct Draw {
    bool emoji = false;
    std::string think;  // one emoji
    int think_count = 0;
    std::string stop;
    int stop_count = 0;
  };
  static Draw DrawFor(int64_t index);

  void Transform(int64_t index, const std::string& system_prompt,
                 nlohmann::ordered_json* messages) const override;
};

}  // namespace trainerd::engine
