// SPDX-License-Identifier: Apache-2.0
// Best-fit-decreasing packing of documents into sequences.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace trainerd::engine {

// A document of a sequence: tokens [begin, begin + max_tokens) of an example, or up to its end.
struct Piece {
  int64_t example = 0;
  int64_t begin = 0;
  int64_t max_tokens = std::numeric_limits<int64_t>::max();
};

// Sequences of documents, flat: 4 bytes per document (8 if examples are split), 8 per sequence.
class PackedSequences {
 public:
  int64_t size() const { return static_cast<int64_t>(row_ends_.size()); }
  bool empty() const { return row_ends_.empty(); }
  int64_t num_documents() const { return static_cast<int64_t>(documents_.size()); }
  // The documents of a sequence, in order.
  int64_t num_documents(int64_t row) const { return End(row) - End(row - 1); }
  Piece document(int64_t row, int64_t i) const;
  // Their examples.
  absl::Span<const uint32_t> examples(int64_t row) const;

  // Adds a sequence of whole examples.
  void AddRow(absl::Span<const uint32_t> examples);
  // Replaces document d with examples[d], as a whole.
  void Rename(absl::Span<const uint32_t> examples);
  // Replaces document d with the pair that begins with examples[d]: two documents, that example and
  // the next one.
  void RenameAsPairs(absl::Span<const uint32_t> examples);
  // Every sequence consists of pairs: documents 2i and 2i + 1 belong together.
  bool is_pairs() const { return is_pairs_; }
  // As Rename, but document d is tokens [parts[d] x piece_tokens, (parts[d] + 1) x piece_tokens).
  void Rename(absl::Span<const uint32_t> examples, absl::Span<const uint32_t> parts,
              int64_t piece_tokens);

 private:
  friend absl::StatusOr<PackedSequences> PackBestFitDecreasing(absl::Span<const int32_t>, int64_t);
  int64_t End(int64_t row) const { return row < 0 ? 0 : row_ends_[static_cast<size_t>(row)]; }

  std::vector<uint32_t> documents_;
  std::vector<uint32_t> parts_;  // by document; empty: all are whole
  std::vector<int64_t> row_ends_;
  int64_t piece_tokens_ = 0;
  bool is_pairs_ = false;
};

// Packs documents of `lengths` tokens into sequences of at most `row_tokens`, longest first (ties:
// input order), each into the fullest sequence that still has room (ties: the one that reached that
// fill first), else into a new one. Every document, named by its position in `lengths`, appears
// exactly once. Sequences are in the order in which they were opened. Deterministic.
// Errors: InvalidArgument for a document longer than row_tokens or of length < 1, and for 2^32
// documents. Cost: O(n log row_tokens) with a base of 64; memory: 16 bytes per document and
// row_tokens. Source: best-fit decreasing as in TRL's pack_dataset(strategy="bfd"), over the whole
// set instead of chunks.
absl::StatusOr<PackedSequences> PackBestFitDecreasing(absl::Span<const int32_t> lengths,
                                                      int64_t row_tokens);

// One document per sequence, in order.
PackedSequences OneDocumentRows(int64_t count);

}  // namespace trainerd::engine
