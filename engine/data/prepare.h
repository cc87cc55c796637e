// SPDX-License-Identifier: Apache-2.0
// From the job's data files to examples and packed sequences: read → validate → profile → template
// → tokenize → target spans → labels → pack. preview, validate and training all call this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/data/batches/batch.h"
#include "engine/data/batches/data_loader.h"
#include "engine/data/batches/packing.h"
#include "engine/data/store/token_store.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Tokenizer and template of a model folder under the job's settings (data.chat_template).
struct TextPipeline {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;
};
absl::StatusOr<TextPipeline> OpenTextPipeline(const v1::JobConfig& config);

// Bounds of the resident memory of PrepareData, see there; asserted by a test.
inline constexpr int64_t kDataMemoryBytes = 200 << 20;
inline constexpr int64_t kDataMemoryPerConversation = 64;

struct PreparedData {
  // Tokens and labels, in a file.
  std::unique_ptr<TokenStore> store;
  // Examples of `store` in file order. Train: those with a target token that the file's weight
  // selected, each once. Validation: of data.validation or the seeded split.
  std::vector<uint32_t> train, validation;
  // Of examples of `store`. An example of a weighted file may be part of several sequences.
  PackedSequences train_sequences;
  PackedSequences validation_rows;
  // With fingerprint, counts and findings (file:line).
  v1::DataReport report;
  bool from_cache = false;
  // Problems of the cache; the job continues without it.
  std::vector<std::string> notes;
};

// Called periodically with the fraction done (0..1). A non-OK status ends the work with that status
// (a stop was requested).
using PrepareProgress = std::function<absl::Status(double)>;

struct PrepareOptions {
  // Threads that parse and tokenize; 0 = those of the machine, at most 8. The result does not
  // depend on it.
  int num_threads = 0;
  // For validate: an error becomes a finding with error = true, and reading continues.
  bool keep_going = false;
  // Folder of the token cache (token_cache.h); "" = none.
  std::string cache_folder;
  // For an unnamed file of tokens, if there is no cache.
  std::string scratch_folder = "/tmp";
};

// The data that the job trains on. Random choices (validation split, share of a weighted file)
// depend on train.seed and the files' records alone. Report: `tokens` are the lengths of the
// trained examples before truncation; `target_tokens` and `rows` describe the sequences of one
// epoch. Errors: InvalidArgument or NotFound with file, line and advice (missing, empty, truncated
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
