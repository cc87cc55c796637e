// SPDX-License-Identifier: Apache-2.0
// Loss over the validation rows: mean negative log likelihood of all their target tokens, as in
// training but without gradients.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/core/run_control.h"
#include "engine/data/batches/packing.h"
#include "engine/data/store/token_store.h"
#include "engine/model/decoder.h"

namespace trainerd::engine {

struct ValidationLoss {
  double loss = 0;  // nats
  int64_t target_tokens = 0;
};

// Goes through `rows` (of examples of `store`) in order, `batch_size` rows at a time. One host
// sync. Errors: Cancelled when a pause, a stop or a discard is wanted; ResourceExhausted; those of
// TokenStore::Read.
absl::StatusOr<ValidationLoss> EvaluateLoss(Decoder& decoder, const TokenStore& store,
                                            const PackedSequences& rows, int64_t batch_size,
                                            const RunControl& control);

}  // namespace trainerd::engine
