// SPDX-License-Identifier: Apache-2.0
// One set (training or validation) while it is read: stores the examples that can be trained,
// counts the other records. A pair is two examples, the chosen answer first; both are stored or
// none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "engine/data/examples/example_pipeline.h"
#include "engine/data/source/findings.h"
#include "engine/data/store/token_store_writer.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Memory: 8 to 30 bytes for each kept conversation (the hashes by which duplicates are found).
// Thread-safety: one owner at a time.
class ExampleSet {
 public:
  // `findings` and `writer` outlive the set. keep_going: see PrepareOptions.
  ExampleSet(const v1::DataConfig& config, std::string lost_bytes_example, bool keep_going,
             Findings* findings, TokenStoreWriter* writer);

  // Adds the result of one record, which is at `place`. Errors: InvalidArgument for a bad record,
  // depending on data.bad_rows; those of TokenStoreWriter::Add.
  absl::Status Add(const TokenRow& row, const RecordLocation& place);

  // Frees the memory by which duplicates are found. Nothing may be added afterwards.
  void ForgetTexts() { absl::flat_hash_set<uint64_t>().swap(texts_); }

  int64_t rows_read() const { return counters_.rows_read(); }
  // Complete once all records are added.
  internal::TokenSetSummary::Counters counters() const;
  // Location of the record that the first DUPLICATE finding repeats.
  const std::optional<RecordLocation>& first_of_duplicates() const { return first_of_duplicates_; }

 private:
  absl::Status AddFault(const RecordError& fault, RecordLocation place);
  // Stores one example.
  absl::Status Store(const TokenizedText& text, uint64_t text_hash, const RecordLocation& place);
  absl::Status AddDuplicate(uint64_t text_hash, const RecordLocation& place);
  void AddNotes(const TokenRow& row, const RecordLocation& place);
  // What data.max_length and the labels make of the row.
  void AddLength(const TokenRow& row, const RecordLocation& place);

  const v1::DataConfig config_;
  const std::string lost_bytes_example_;
  const bool keep_going_;
  Findings* const findings_;
  TokenStoreWriter* const writer_;
  const int64_t first_example_;  // of this set, in the writer
  internal::TokenSetSummary::Counters counters_;
  Xxh3Stream fingerprint_;
  absl::flat_hash_set<uint64_t> texts_;
  std::optional<RecordLocation> first_of_duplicates_;
};

// The counters as text, for the message that nothing remains to train.
std::string RowsText(const internal::TokenSetSummary::Counters& counters);

// Adds ids and labels of an example, little-endian int32, and its weights, fp32, to a fingerprint.
void HashExample(const TokenExample& example, Xxh3Stream* hash);

}  // namespace trainerd::engine
