// SPDX-License-Identifier: Apache-2.0
// The second half of PrepareData: which examples of the store are trained, how often, and in which
// sequences. With `preference` all choices are between pairs, which are never divided. A pure
// function of (store, seed, weights, validation_fraction, packing, max_length).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/data/batches/packing.h"
#include "engine/data/source/findings.h"
#include "engine/data/store/token_store.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

struct SequencePlan {
  // Examples of the store, in file order: those that are trained on at least once an epoch, and
  // those that are set aside. With `preference` both of a pair, next to each other.
  std::vector<uint32_t> train, validation;
  PackedSequences train_sequences, validation_rows;
  // Of an epoch of training.
  int64_t row_tokens = 0, target_tokens = 0;
};

// Adds OVERLAP and UNTRAINED_PIECE to `findings`. Errors: those of TokenStore and packing.
// Memory: 4 bytes per example and 24 per document while it works.
absl::StatusOr<SequencePlan> PlanSequences(const v1::JobConfig& config, const TokenStore& store,
                                           Findings* findings);

}  // namespace trainerd::engine
