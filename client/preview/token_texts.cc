// SPDX-License-Identifier: Apache-2.0
#include "client/preview/token_texts.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {
namespace {

using Ids = std::vector<int64_t>;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
// A character has four bytes at most and a token one at least: so many tokens of it can lie on one
// side of a place inside of it.
constexpr size_t kReach = 3;

bool BeginsBroken(std::string_view text) {
  return text.substr(0, kReplacement.size()) == kReplacement;
}
bool EndsBroken(std::string_view text) {
  return text.size() >= kReplacement.size() &&
         text.substr(text.size() - kReplacement.size()) == kReplacement;
}

// Lists that are decoded together, each different one once.
class Batch {
 public:
  void Add(Ids ids) { places_.emplace(std::move(ids), 0); }
  absl::Status Decode(const DecodeTokens& decode) {
    std::vector<Ids> lists;
    for (auto& [ids, place] : places_) {
      place = lists.size();
      lists.push_back(ids);
    }
    ASSIGN_OR_RETURN(decoded_, DecodeLists(decode, lists));
    return absl::OkStatus();
  }
  const DecodedTokens& operator[](const Ids& ids) const { return decoded_[places_.at(ids)]; }

 private:
  std::map<Ids, size_t> places_;
  std::vector<DecodedTokens> decoded_;
};

// The tokens around a place between two tokens that may lie inside a character.
struct Around {
  Ids left;
  Ids right;
  Ids both;
};
Around AroundOf(const Ids& ids, size_t place) {
  const auto at = ids.begin() + static_cast<ptrdiff_t>(place);
  const auto begin = at - static_cast<ptrdiff_t>(std::min(kReach, place));
  const auto end = at + static_cast<ptrdiff_t>(std::min(kReach, ids.size() - place));
  return {.left = {begin, at}, .right = {at, end}, .both = {begin, end}};
}

// Places 1 … n-1 of the list at which a half character may meet its other half: what stands before
// does not end whole, and what stands behind does not begin whole.
std::vector<size_t> Doubts(const Ids& ids, const Batch& single) {
  std::vector<size_t> places;
  for (size_t i = 1; i < ids.size(); ++i) {
    if (EndsBroken(single[{ids[i - 1]}].text) && BeginsBroken(single[{ids[i]}].text))
      places.push_back(i);
  }
  return places;
}

// Whether a character goes over the place: its halves decode to other text than the whole.
bool IsInsideCharacter(const Ids& ids, size_t place, const Batch& around) {
  const Around tokens = AroundOf(ids, place);
  return absl::StrCat(around[tokens.left].text, around[tokens.right].text) !=
         around[tokens.both].text;
}

Ids Slice(const Ids& ids, const TokenText& part) {
  return {ids.begin() + static_cast<ptrdiff_t>(part.begin),
          ids.begin() + static_cast<ptrdiff_t>(part.end)};
}

}  // namespace

absl::StatusOr<std::vector<DecodedTokens>> DecodeLists(const DecodeTokens& decode,
                                                       const std::vector<Ids>& lists) {
  if (lists.empty()) return std::vector<DecodedTokens>{};
  ASSIGN_OR_RETURN(std::vector<DecodedTokens> decoded, decode(lists));
  if (decoded.size() != lists.size()) {
    return absl::InternalError(absl::StrCat("decoding gave ", decoded.size(), " texts for ",
                                            lists.size(), " rows of tokens"));
  }
  return decoded;
}

absl::StatusOr<std::vector<std::vector<TokenText>>> SplitIntoTexts(const std::vector<Ids>& lists,
                                                                   const DecodeTokens& decode) {
  Batch single;
  for (const Ids& ids : lists) {
    for (const int64_t id : ids) single.Add({id});
  }
  RETURN_IF_ERROR(single.Decode(decode));

  std::vector<std::vector<size_t>> doubts;
  Batch around;
  for (const Ids& ids : lists) {
    doubts.push_back(Doubts(ids, single));
    for (const size_t place : doubts.back()) {
      Around tokens = AroundOf(ids, place);
      around.Add(std::move(tokens.left));
      around.Add(std::move(tokens.right));
      around.Add(std::move(tokens.both));
    }
  }
  RETURN_IF_ERROR(around.Decode(decode));

  std::vector<std::vector<TokenText>> result(lists.size());
  Batch characters;
  for (size_t k = 0; k < lists.size(); ++k) {
    auto doubt = doubts[k].begin();
    for (size_t i = 0; i < lists[k].size(); ++i) {
      const bool doubtful = doubt != doubts[k].end() && *doubt == i;
      if (doubtful) ++doubt;
      if (doubtful && IsInsideCharacter(lists[k], i, around)) {
        result[k].back().end = i + 1;
      } else {
        result[k].push_back({.begin = i, .end = i + 1});
      }
    }
    for (const TokenText& part : result[k]) {
      if (part.end - part.begin > 1) characters.Add(Slice(lists[k], part));
    }
  }
  RETURN_IF_ERROR(characters.Decode(decode));

  for (size_t k = 0; k < lists.size(); ++k) {
    for (TokenText& part : result[k])
      part.decoded = (part.end - part.begin > 1 ? characters : single)[Slice(lists[k], part)];
  }
  return result;
}

}  // namespace trainerd::client
