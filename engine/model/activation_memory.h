// SPDX-License-Identifier: Apache-2.0
// What the layers of a decoder keep between forward and backward pass.
#pragma once

#include <cstdint>

#include "engine/model/config/model_config.h"
#include "engine/model/decoder.h"
#include "engine/model/parameters.h"

namespace trainerd::engine {

// Bytes that all layers together keep per token if all of them train. The last layer keeps a part
// of them for the target tokens alone; besides, the microbatch holds logits and the tensors of the
// layer that is computed.
int64_t KeptBytesPerToken(const ModelConfig& config, Precision precision,
                          ActivationCheckpointing checkpointing);

}  // namespace trainerd::engine
