// SPDX-License-Identifier: Apache-2.0
// "Did you mean …?" for misspelt keys and words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trainerd {

// `word` in lower case, with _ for -.
std::string FoldedWord(std::string_view word);

// Nearest of `candidates` to `word` by edit distance (insert, delete, replace, swap neighbours;
// case and -/_ do not count), "" when none is near: at most a third of the word's length away, and
// at least one edit is always allowed. The first of equally near ones.
std::string NearestWord(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace trainerd
