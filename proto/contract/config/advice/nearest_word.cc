// SPDX-License-Identifier: Apache-2.0
// Optimal string alignment distance, three rows at a time.
#include "proto/contract/config/advice/nearest_word.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace trainerd {
namespace {

// Keys are short; a longer word is no misspelling of one.
constexpr size_t kMaxWordBytes = 64;

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string FoldedWord(std::string_view word) {
  std::string folded;
  for (const char c : word)
    folded.push_back(c == '-' ? '_' : absl::ascii_tolower(static_cast<unsigned char>(c)));
  return folded;
}

std::string NearestWord(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kMaxWordBytes) return "";
  const std::string lowered = FoldedWord(word);
  size_t best_distance = std::max<size_t>(1, lowered.size() / 3) + 1;
  std::string best;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(lowered, FoldedWord(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace trainerd
