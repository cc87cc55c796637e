// SPDX-License-Identifier: Apache-2.0
// From the job's data files to token examples and rows: read → validate → profile → template →
// tokenise → target spans → labels → pack. preview, validate and training all call this.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/data/batches/batch.h"
#include "engine/data/batches/data_loader.h"
#include "engine/data/batches/packing.h"
#include "engine/data/examples/prepare_options.h"
#include "engine/data/source/text_pipeline.h"
#include "engine/data/store/token_store.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Bounds of the resident memory of PrepareData, see there; asserted by a test.
inline constexpr int64_t kDataMemoryBytes = 200 << 20;
inline constexpr int64_t kDataMemoryPerConversation = 64;

struct PreparedData {
  std::unique_ptr<TokenStore> store;  // tokens and labels lie in a file
  // Examples of `store` in file order. Train: those that are trained on, each once (they have a
  // target token, and a weight chose them). Validation: of data.validation or the seeded split.
  std::vector<uint32_t> train, validation;
  PackedSequences
      train_sequences;  // of examples of `store`; one of a weighted file may stand in several rows
  PackedSequences validation_rows;
  v1::DataReport report;  // with fingerprint, counts and findings (file:line)
  bool from_cache = false;
  std::vector<std::string> notes;  // what went wrong with the cache; the job goes on without it
};

// The data that the run trains on. What is chosen at random (validation split, share of a weighted
// file) depends on train.seed and the files' rows alone. Report: `tokens` are the lengths of the
// trained examples before truncation; `target_tokens` and `rows` are those of one epoch. Errors:
// InvalidArgument / NotFound with file, line and advice (missing, empty, truncated, malformed data;
// unknown role; template error; no row with a target token; a finding that data.findings makes an
// error …); ResourceExhausted when nothing has room for the rows.
// Memory, here and in training: kDataMemoryBytes and kDataMemoryPerConversation for each
// conversation, whatever their length and the files' size, as long as no line is longer than 4 MiB
// (a longer one is held as a whole, some 20 times).
absl::StatusOr<PreparedData> PrepareData(const v1::JobConfig& config, const TextPipeline& text,
                                         const PrepareProgress& progress,
                                         const PrepareOptions& options = {});

// The loader's options out of the job's configuration.
DataLoaderOptions LoaderOptions(const v1::JobConfig& config);

// XXH3-128 in hex over ids and labels of the first `count` rows in training order of epoch 0 (what
// the events and `preview --packed` print). Errors: those of TokenStore::Read.
absl::StatusOr<std::string> FirstRowsDigest(const PreparedData& data, const v1::JobConfig& config,
                                            int64_t count);

}  // namespace trainerd::engine
