// SPDX-License-Identifier: Apache-2.0
// What the job's sections `train` and `preference` say about the decoder: the loss and what is
// recomputed.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/model/decoder.h"
#include "engine/ops/preference.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Errors of both: Internal for an enum value that this version does not know.
absl::StatusOr<DecoderOptions> DecoderOptionsOf(const v1::TrainConfig& config);
absl::StatusOr<PreferenceOptions> PreferenceOptionsOf(const v1::PreferenceConfig& config);

// What train.activation_checkpointing changes, for a Notice; "" if it changes nothing.
std::string CheckpointingText(const ModelConfig& config, Precision precision,
                              ActivationCheckpointing checkpointing);

}  // namespace trainerd::engine
