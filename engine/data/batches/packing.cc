// SPDX-License-Identifier: Apache-2.0
#include "engine/data/batches/packing.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// A set of small numbers with "smallest member >= x" in one word per level: level 0 has a bit for
// each number, each level above a bit for each non-zero word below.
class BitHierarchy {
 public:
  explicit BitHierarchy(size_t size) {
    do {
      size = (size + 63) / 64;
      levels_.emplace_back(size, 0);
    } while (size > 1);
  }

  void Insert(size_t value) {
    for (auto& level : levels_) {
      level[value / 64] |= uint64_t{1} << (value % 64);
      value /= 64;
    }
  }

  void Erase(size_t value) {
    for (auto& level : levels_) {
      level[value / 64] &= ~(uint64_t{1} << (value % 64));
      if (level[value / 64] != 0) return;
      value /= 64;
    }
  }

  // -1 when there is none.
  int64_t SmallestAtLeast(size_t value) const {
    for (size_t height = 0; height < levels_.size(); ++height) {
      const auto& level = levels_[height];
      if (value / 64 >= level.size()) return -1;
      const uint64_t word = level[value / 64] & (~uint64_t{0} << (value % 64));
      if (word != 0) return Descend(height, value / 64 * 64 + CountZeros(word));
      value = value / 64 + 1;
    }
    return -1;
  }

 private:
  static size_t CountZeros(uint64_t word) { return static_cast<size_t>(__builtin_ctzll(word)); }

  int64_t Descend(size_t height, size_t value) const {
    while (height > 0) {
      --height;
      value = value * 64 + CountZeros(levels_[height][value]);
    }
    return static_cast<int64_t>(value);
  }

  std::vector<std::vector<uint64_t>> levels_;
};

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

// Rows by their free space: a first-in-first-out list for each amount.
class OpenRows {
 public:
  explicit OpenRows(size_t row_tokens)
      : spaces_(row_tokens + 1), head_(row_tokens + 1, -1), tail_(row_tokens + 1, -1) {}

  void Push(size_t space, int64_t row) {
    if (static_cast<size_t>(row) >= next_.size()) next_.resize(static_cast<size_t>(row) + 1);
    next_[static_cast<size_t>(row)] = kNone;
    if (head_[space] < 0) {
      head_[space] = row;
      spaces_.Insert(space);
    } else {
      next_[static_cast<size_t>(tail_[space])] = static_cast<uint32_t>(row);
    }
    tail_[space] = row;
  }

  // Takes out the row with the least free space >= `length` and sets *space to it. -1 = none.
  int64_t PopBestFit(size_t length, size_t* space) {
    const int64_t found = spaces_.SmallestAtLeast(length);
    if (found < 0) return -1;
    *space = static_cast<size_t>(found);
    const int64_t row = head_[*space];
    const uint32_t next = next_[static_cast<size_t>(row)];
    head_[*space] = next == kNone ? -1 : int64_t{next};
    if (head_[*space] < 0) spaces_.Erase(*space);
    return row;
  }

 private:
  BitHierarchy spaces_;
  std::vector<int64_t> head_, tail_;  // by free space; -1 = empty
  std::vector<uint32_t> next_;        // by row
};

// Documents from longest to shortest, equal ones in input order (counting sort).
std::vector<uint32_t> LongestFirst(absl::Span<const int32_t> lengths, int64_t row_tokens) {
  std::vector<int64_t> start(static_cast<size_t>(row_tokens) + 2, 0);
  for (const int32_t length : lengths) ++start[static_cast<size_t>(row_tokens - length) + 1];
  for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
  std::vector<uint32_t> order(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    order[static_cast<size_t>(start[static_cast<size_t>(row_tokens - lengths[i])]++)] =
        static_cast<uint32_t>(i);
  }
  return order;
}

}  // namespace

absl::Span<const uint32_t> PackedSequences::examples(int64_t row) const {
  return absl::MakeConstSpan(documents_)
      .subspan(static_cast<size_t>(End(row - 1)), static_cast<size_t>(num_documents(row)));
}

Piece PackedSequences::document(int64_t row, int64_t i) const {
  const size_t at = static_cast<size_t>(End(row - 1) + i);
  Piece piece{.example = documents_[at]};
  if (!parts_.empty()) {
    piece.begin = parts_[at] * piece_tokens_;
    piece.max_tokens = piece_tokens_;
  }
  return piece;
}

void PackedSequences::AddRow(absl::Span<const uint32_t> examples) {
  TRAINERD_CHECK(parts_.empty());
  documents_.insert(documents_.end(), examples.begin(), examples.end());
  row_ends_.push_back(num_documents());
}

void PackedSequences::Rename(absl::Span<const uint32_t> examples) {
  for (uint32_t& document : documents_) document = examples[document];
}

void PackedSequences::RenameAsPairs(absl::Span<const uint32_t> examples) {
  std::vector<uint32_t> documents;
  documents.reserve(2 * documents_.size());
  for (const uint32_t document : documents_) {
    documents.push_back(examples[document]);
    documents.push_back(examples[document] + 1);
  }
  documents_ = std::move(documents);
  for (int64_t& end : row_ends_) end *= 2;
  is_pairs_ = true;
}

void PackedSequences::Rename(absl::Span<const uint32_t> examples, absl::Span<const uint32_t> parts,
                             int64_t piece_tokens) {
  parts_.resize(documents_.size());
  piece_tokens_ = piece_tokens;
  for (size_t i = 0; i < documents_.size(); ++i) {
    parts_[i] = parts[documents_[i]];
    documents_[i] = examples[documents_[i]];
  }
}

absl::StatusOr<PackedSequences> PackBestFitDecreasing(absl::Span<const int32_t> lengths,
                                                      int64_t row_tokens) {
  if (row_tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a packed sequence of ", Counted(row_tokens, "token"), " holds nothing; use 1 or more"));
  }
  if (lengths.size() >= kNone) {
    return absl::InvalidArgumentError(
        absl::StrCat(lengths.size(), " documents are too many; pack fewer than ", kNone));
  }
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] >= 1 && lengths[i] <= row_tokens) continue;
    return absl::InvalidArgumentError(absl::StrCat("document ", i, " has ",
                                                   Counted(lengths[i], "token"),
                                                   "; a sequence holds 1 to ", row_tokens));
  }

  const std::vector<uint32_t> order = LongestFirst(lengths, row_tokens);
  PackedSequences rows;
  std::vector<uint32_t> row_of(lengths.size());
  {
    OpenRows open(static_cast<size_t>(row_tokens));
    for (const uint32_t document : order) {
      const size_t length = static_cast<size_t>(lengths[document]);
      size_t space = static_cast<size_t>(row_tokens);
      int64_t row = open.PopBestFit(length, &space);
      if (row < 0) {
        row = rows.size();
        rows.row_ends_.push_back(0);
      }
      row_of[document] = static_cast<uint32_t>(row);
      ++rows.row_ends_[static_cast<size_t>(row)];
      if (space > length) open.Push(space - length, row);
    }
  }
  // Counts to the beginning of each row; writing a row's documents moves that on to its end.
  int64_t begin = 0;
  for (int64_t& count : rows.row_ends_) {
    begin += count;
    count = begin - count;
  }
  rows.documents_.resize(order.size());
  for (const uint32_t document : order) {
    const int64_t at = rows.row_ends_[row_of[document]]++;
    rows.documents_[static_cast<size_t>(at)] = document;
  }
  return rows;
}

PackedSequences OneDocumentRows(int64_t count) {
  PackedSequences rows;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t document = static_cast<uint32_t>(i);
    rows.AddRow(absl::MakeConstSpan(&document, 1));
  }
  return rows;
}

}  // namespace trainerd::engine
