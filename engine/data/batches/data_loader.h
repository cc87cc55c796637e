// SPDX-License-Identifier: Apache-2.0
// The order in which sequences are trained: a pure function of (sequences, seed, step). A resume
// needs the step's number, not a replay.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/data/batches/batch.h"
#include "engine/data/batches/packing.h"
#include "engine/data/store/token_store.h"
#include "proto/base/hash.h"

namespace trainerd::engine {

struct DataLoaderOptions {
  int64_t batch_size = 1;             // sequences per microbatch
  int64_t gradient_accumulation = 1;  // microbatches per step
  double epochs = 1;                  // used when max_steps is 0
  int64_t max_steps = 0;
  int64_t seed = 42;
  bool shuffle = true;
};

// Where step N is. Steps count from 1.
struct StepPlace {
  int64_t epoch = 0;      // 0-based
  int64_t first_row = 0;  // position in the epoch's order
  int64_t num_rows =
      0;  // fewer than batch_size x gradient_accumulation in an epoch's last step, never 0
  double epoch_after = 0;  // epochs completed once the step is applied
};

// Not thread-safe (Step caches the order of the current epoch).
class DataLoader {
 public:
  // `store` and `rows` must outlive the loader. Sequences consist of examples of `store`; with
  // packing off each sequence holds one, or one pair.
  DataLoader(const TokenStore& store, const PackedSequences& rows, DataLoaderOptions options);

  // The last step of an epoch may be smaller; it is trained like the others.
  int64_t steps_per_epoch() const;
  // max_steps if set, else ceil(epochs x steps_per_epoch).
  int64_t total_steps() const;
  StepPlace Place(int64_t step) const;
  // The microbatches of step N (1-based), in order. The last one may hold fewer sequences. Errors:
  // those of TokenStore::Read.
  absl::StatusOr<std::vector<Microbatch>> Step(int64_t step) const;
  // Order of the sequences in one epoch: Fisher-Yates with a counter-based generator keyed by
  // (seed, epoch); the identity without shuffle.
  std::vector<int64_t> EpochOrder(int64_t epoch) const;

 private:
  const TokenStore& store_;
  const PackedSequences& rows_;
  DataLoaderOptions options_;
  mutable int64_t cached_epoch_ = -1;
  mutable std::vector<int64_t> cached_order_;
};

// One microbatch of whole sequences, named by number. Errors: those of TokenStore::Read.
absl::StatusOr<Microbatch> MakeMicrobatch(const TokenStore& store, const PackedSequences& rows,
                                          absl::Span<const int64_t> numbers);

// Adds ids, labels and weights of a microbatch to a digest.
void HashTokens(const Microbatch& batch, Xxh3Stream* digest);

}  // namespace trainerd::engine
