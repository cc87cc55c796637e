// SPDX-License-Identifier: Apache-2.0
#include "engine/text/unicode/nfc.h"

#include <algorithm>
#include <cstring>

#include "engine/text/unicode/unicode_tables.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

constexpr uint32_t kSBase = 0xAC00, kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11A7;
constexpr uint32_t kLCount = 19, kVCount = 21, kTCount = 28, kSCount = kLCount * kVCount * kTCount;

// A character on its way through normalization, with the input bytes that it stands for.
struct Piece {
  uint32_t code_point;
  uint32_t begin, end;
  uint8_t combining_class;
};

uint8_t CombiningClass(uint32_t c) {
  const auto* end = unicode::kCombining + unicode::kNumCombining;
  const auto* it =
      std::lower_bound(unicode::kCombining, end, c,
                       [](const unicode::Combining& e, uint32_t v) { return e.code_point < v; });
  return it != end && it->code_point == c ? it->combining_class : 0;
}

void Decompose(uint32_t c, uint32_t begin, uint32_t end, std::vector<Piece>* out) {
  if (c >= kSBase && c < kSBase + kSCount) {
    const uint32_t s = c - kSBase;
    out->push_back({kLBase + s / (kVCount * kTCount), begin, end, 0});
    out->push_back({kVBase + (s % (kVCount * kTCount)) / kTCount, begin, end, 0});
    if (s % kTCount != 0) out->push_back({kTBase + s % kTCount, begin, end, 0});
    return;
  }
  const auto* last = unicode::kDecompositions + unicode::kNumDecompositions;
  const auto* it = std::lower_bound(
      unicode::kDecompositions, last, c,
      [](const unicode::Decomposition& e, uint32_t v) { return e.code_point < v; });
  if (it == last || it->code_point != c) {
    out->push_back({c, begin, end, CombiningClass(c)});
    return;
  }
  for (uint32_t i = 0; i < it->size; ++i) {
    const uint32_t part = unicode::kDecomposed[it->begin + i];
    out->push_back({part, begin, end, CombiningClass(part)});
  }
}

// The primary composite of a and b, or 0.
uint32_t Compose(uint32_t a, uint32_t b) {
  if (a >= kLBase && a < kLBase + kLCount && b >= kVBase && b < kVBase + kVCount) {
    return kSBase + ((a - kLBase) * kVCount + (b - kVBase)) * kTCount;
  }
  if (a >= kSBase && a < kSBase + kSCount && (a - kSBase) % kTCount == 0 && b > kTBase &&
      b < kTBase + kTCount) {
    return a + (b - kTBase);
  }
  const auto* end = unicode::kCompositions + unicode::kNumCompositions;
  const auto* it =
      std::lower_bound(unicode::kCompositions, end, std::make_pair(a, b),
                       [](const unicode::Composition& e, const std::pair<uint32_t, uint32_t>& v) {
                         return e.first != v.first ? e.first < v.first : e.second < v.second;
                       });
  return it != end && it->first == a && it->second == b ? it->composed : 0;
}

// Normalizes the pieces of one segment in place: canonical order, then composition.
void ComposeSegment(std::vector<Piece>* pieces) {
  auto& p = *pieces;
  for (size_t i = 0; i < p.size();) {
    if (p[i].combining_class == 0) {
      ++i;
      continue;
    }
    size_t j = i;
    while (j < p.size() && p[j].combining_class != 0) ++j;
    std::stable_sort(
        p.begin() + static_cast<std::ptrdiff_t>(i), p.begin() + static_cast<std::ptrdiff_t>(j),
        [](const Piece& a, const Piece& b) { return a.combining_class < b.combining_class; });
    i = j;
  }
  size_t out = 0;
  size_t starter = SIZE_MAX;
  // Combining class of the last piece kept after the starter; -1 = none was kept.
  int last_class = -1;
  for (size_t i = 0; i < p.size(); ++i) {
    const Piece piece = p[i];
    if (starter != SIZE_MAX && last_class < static_cast<int>(piece.combining_class)) {
      const uint32_t composed = Compose(p[starter].code_point, piece.code_point);
      if (composed != 0) {
        p[starter].code_point = composed;
        p[starter].begin = std::min(p[starter].begin, piece.begin);
        p[starter].end = std::max(p[starter].end, piece.end);
        continue;
      }
    }
    if (piece.combining_class == 0) {
      starter = out;
      last_class = -1;
    } else {
      last_class = piece.combining_class;
    }
    p[out++] = piece;
  }
  p.resize(out);
}

void AppendPieces(const std::vector<Piece>& pieces, NormalizedText* out) {
  for (const Piece& piece : pieces) {
    AppendUtf8(piece.code_point, &out->text);
    out->source_begin.resize(out->text.size(), piece.begin);
    out->source_end.resize(out->text.size(), piece.end);
  }
}

}  // namespace

bool NeedsNfc(std::string_view text) {
  const char* p = text.data();
  const char* end = p + text.size();
  while (p < end) {
    if (static_cast<uint8_t>(*p) < 0x80) {
      uint64_t eight;
      if (end - p >= 8 && (std::memcpy(&eight, p, 8), (eight & 0x8080808080808080u) == 0)) {
        p += 8;
      } else {
        ++p;
      }
      continue;
    }
    int size;
    if (unicode::ClassOf(DecodeUtf8(p, &size)) & unicode::kNfcSlow) return true;
    p += size;
  }
  return false;
}

void NormalizeNfc(std::string_view text, NormalizedText* out) {
  out->text.clear();
  out->source_begin.clear();
  out->source_end.clear();
  out->text.reserve(text.size());
  out->source_begin.reserve(text.size());
  out->source_end.reserve(text.size());
  std::vector<Piece> pieces;
  const char* begin = text.data();
  const char* end = begin + text.size();
  // A segment is one character that never joins its predecessor, and the following ones that may:
  // segments do not influence each other, and one without followers stays unchanged.
  for (const char* p = begin; p < end;) {
    const char* first = p;
    int size;
    uint32_t c = DecodeUtf8(p, &size);
    const bool first_is_slow = (unicode::ClassOf(c) & unicode::kNfcSlow) != 0;
    const auto at = [&] { return static_cast<uint32_t>(p - begin); };
    uint32_t next = 0;
    int next_size = 0;
    const auto joins = [&] {
      if (p == end) return false;
      next = DecodeUtf8(p, &next_size);
      return (unicode::ClassOf(next) & unicode::kNfcSlow) != 0;
    };
    p += size;
    if (!joins() && !first_is_slow) {
      out->text.append(first, p);
      out->source_begin.resize(out->text.size(), at() - static_cast<uint32_t>(size));
      out->source_end.resize(out->text.size(), at());
      continue;
    }
    pieces.clear();
    Decompose(c, at() - static_cast<uint32_t>(size), at(), &pieces);
    while (joins()) {
      p += next_size;
      Decompose(next, at() - static_cast<uint32_t>(next_size), at(), &pieces);
    }
    ComposeSegment(&pieces);
    AppendPieces(pieces, out);
  }
}

}  // namespace trainerd::engine
