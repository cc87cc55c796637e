// SPDX-License-Identifier: Apache-2.0
// Validation loss: mean loss of all target tokens of the validation sequences, with preference of
// all pairs, as in training but without gradients. As in transformers, train.label_smoothing
// applies; train.token_weighting does not.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/core/run_control.h"
#include "engine/data/batches/packing.h"
#include "engine/data/store/token_store.h"
#include "engine/model/decoder.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

struct ValidationLoss {
  double loss = 0;  // nats
  int64_t target_tokens = 0;
};

// Evaluates `sequences` (of examples of `store`) in order, `batch_size` sequences at a time. One
// host sync. `preference` is null in a job without it. Errors: Cancelled if a pause, stop or
// discard is requested; ResourceExhausted; those of TokenStore::Read.
absl::StatusOr<ValidationLoss> EvaluateLoss(Decoder& decoder, const TokenStore& store,
                                            const PackedSequences& sequences, int64_t batch_size,
                                            const RunControl& control,
                                            const Preference* preference);

}  // namespace trainerd::engine
