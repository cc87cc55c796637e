// SPDX-License-Identifier: Apache-2.0
// From the job's data files to examples and packed sequences: read → validate → profile → template
// → tokenize → target spans → labels → pack. preview, validate and training all call this.
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
  // Tokens and labels, in a file.
  std::unique_ptr<TokenStore> store;
  // Examples of `store` in file order; with `preference` both of a pair, next to each other. Train:
  // those with a target token that the file's weight selected, each once. Validation: of
  // data.validation or the seeded split.
  std::vector<uint32_t> train, validation;
  // Of examples of `store`. An example of a weighted file may be part of several sequences.
  PackedSequences train_sequences;
  PackedSequences validation_rows;
  // With fingerprint, counts and findings (file:line).
  v1::DataReport report;
  // With keep_going: a file or a record of the training data could not be used, and the findings
  // name it as an error. The counts are those of what remained.
  bool train_has_errors = false;
  bool from_cache = false;
  // Problems of the cache; the job continues without it.
  std::vector<std::string> notes;
};

// The data that the job trains on. Random choices (validation split, share of a weighted file)
// depend on train.seed and the files' records alone. Report: `tokens` are the lengths of the
// trained examples before truncation; `target_tokens` and `rows` describe the sequences of one
// epoch. A pair is one example in all counts but `tokens`, where each of its answers has a length.
// Errors: InvalidArgument or NotFound with file, line and advice (missing, empty, truncated
// or malformed data; unknown role; template error; no record with a target token; a finding that
// data.findings makes an error …); ResourceExhausted if neither disk nor memory has room. Memory,
// here and in training: kDataMemoryBytes plus kDataMemoryPerConversation for each conversation,
// whatever their length and the files' size, as long as no line is longer than 4 MiB (a longer line
// is held in memory about 20 times).
absl::StatusOr<PreparedData> PrepareData(const v1::JobConfig& config, const TextPipeline& text,
                                         const PrepareProgress& progress,
                                         const PrepareOptions& options = {});

// The loader's options from the job's configuration.
DataLoaderOptions LoaderOptions(const v1::JobConfig& config);

// XXH3-128 in hex over ids and labels of the first `count` sequences in training order of epoch 0;
// the masking report and `preview --packed` contain it. Errors: those of TokenStore::Read.
absl::StatusOr<std::string> FirstRowsDigest(const PreparedData& data, const v1::JobConfig& config,
                                            int64_t count);

}  // namespace trainerd::engine
