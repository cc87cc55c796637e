// SPDX-License-Identifier: Apache-2.0
#include "engine/data/packing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

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

// Rows by their free space: a first-in-first-out list for each amount.
class OpenRows {
 public:
  explicit OpenRows(size_t row_tokens)
      : spaces_(row_tokens + 1), head_(row_tokens + 1, -1), tail_(row_tokens + 1, -1) {}

  void Push(size_t space, int64_t row) {
    if (static_cast<size_t>(row) >= next_.size()) next_.resize(static_cast<size_t>(row) + 1, -1);
    next_[static_cast<size_t>(row)] = -1;
    if (head_[space] < 0) {
      head_[space] = row;
      spaces_.Insert(space);
    } else {
      next_[static_cast<size_t>(tail_[space])] = row;
    }
    tail_[space] = row;
  }

  // Takes out the row with the least free space >= `length` and sets *space to it. -1 = none.
  int64_t PopBestFit(size_t length, size_t* space) {
    const int64_t found = spaces_.SmallestAtLeast(length);
    if (found < 0) return -1;
    *space = static_cast<size_t>(found);
    const int64_t row = head_[*space];
    head_[*space] = next_[static_cast<size_t>(row)];
    if (head_[*space] < 0) spaces_.Erase(*space);
    return row;
  }

 private:
  BitHierarchy spaces_;
  std::vector<int64_t> head_, tail_;  // by free space; -1 = empty
  std::vector<int64_t> next_;         // by row
};

// Documents from longest to shortest, equal ones in input order (counting sort).
std::vector<int64_t> LongestFirst(absl::Span<const int64_t> lengths, int64_t row_tokens) {
  std::vector<int64_t> start(static_cast<size_t>(row_tokens) + 2, 0);
  for (const int64_t length : lengths) ++start[static_cast<size_t>(row_tokens - length) + 1];
  for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
  std::vector<int64_t> order(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    order[static_cast<size_t>(start[static_cast<size_t>(row_tokens - lengths[i])]++)] =
        static_cast<int64_t>(i);
  }
  return order;
}

}  // namespace

absl::StatusOr<std::vector<PackedRow>> PackBestFitDecreasing(absl::Span<const int64_t> lengths,
                                                             int64_t row_tokens) {
  if (row_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a packed row of ", row_tokens, " tokens holds nothing; use 1 or more"));
  }
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] >= 1 && lengths[i] <= row_tokens) continue;
    return absl::InvalidArgumentError(absl::StrCat("document ", i, " has ", lengths[i],
                                                   " tokens; a row takes 1 to ", row_tokens));
  }

  const std::vector<int64_t> order = LongestFirst(lengths, row_tokens);
  OpenRows open(static_cast<size_t>(row_tokens));
  std::vector<int64_t> row_of(lengths.size());
  std::vector<int64_t> documents_in;  // by row
  for (const int64_t document : order) {
    const size_t length = static_cast<size_t>(lengths[static_cast<size_t>(document)]);
    size_t space = static_cast<size_t>(row_tokens);
    int64_t row = open.PopBestFit(length, &space);
    if (row < 0) {
      row = static_cast<int64_t>(documents_in.size());
      documents_in.push_back(0);
    }
    row_of[static_cast<size_t>(document)] = row;
    ++documents_in[static_cast<size_t>(row)];
    if (space > length) open.Push(space - length, row);
  }

  std::vector<PackedRow> rows(documents_in.size());
  for (size_t row = 0; row < rows.size(); ++row) {
    rows[row].documents.reserve(static_cast<size_t>(documents_in[row]));
  }
  for (const int64_t document : order) {
    rows[static_cast<size_t>(row_of[static_cast<size_t>(document)])].documents.push_back(document);
  }
  return rows;
}

std::vector<PackedRow> OneDocumentRows(int64_t count) {
  std::vector<PackedRow> rows(static_cast<size_t>(std::max<int64_t>(count, 0)));
  for (size_t i = 0; i < rows.size(); ++i) rows[i].documents = {static_cast<int64_t>(i)};
  return rows;
}

}  // namespace trainerd::engine
