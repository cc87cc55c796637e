// SPDX-License-Identifier: Apache-2.0
// Best-fit-decreasing packing of documents into rows.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace trainerd::engine {

// Positions (into the list of lengths) of the documents of one row, in row order.
struct PackedRow {
  std::vector<int64_t> documents;
};

// Packs documents of `lengths` tokens into rows of at most `row_tokens`, longest first (ties: input
// order), each into the fullest row that still has room (ties: the row that came to that fill
// first), else into a new one. Every document appears exactly once. Rows stand in the order in
// which they were opened. Deterministic. Errors: InvalidArgument for a document longer than
// row_tokens or of length < 1. Cost: O(n log row_tokens) with a base of 64; memory O(n +
// row_tokens). Source: best-fit decreasing as in TRL's pack_dataset(strategy="bfd"), over the whole
// set instead of chunks.
absl::StatusOr<std::vector<PackedRow>> PackBestFitDecreasing(absl::Span<const int64_t> lengths,
                                                             int64_t row_tokens);

// One document a row, in order.
std::vector<PackedRow> OneDocumentRows(int64_t count);

}  // namespace trainerd::engine
