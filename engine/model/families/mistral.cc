// SPDX-License-Identifier: Apache-2.0
// Mistral: a sliding window that needs no switch.
// Source: transformers 5.23.0, models/mistral.
#include "engine/model/families/family.h"

namespace trainerd::engine::families {

Family Mistral() {
  return {.model_type = "mistral",
          .architecture = "MistralForCausalLM",
          .read_block = ReadSlidingWindow};
}

}  // namespace trainerd::engine::families
