// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/bpe/word_cache.h"

#include <algorithm>
#include <cstring>

namespace trainerd::engine {
namespace {

uint64_t Load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// The first n (0 to 8) bytes of a little-endian integer.
constexpr uint64_t LowBytes(size_t n) { return n >= 8 ? UINT64_MAX : (uint64_t{1} << (8 * n)) - 1; }

}  // namespace

WordCache::WordCache() = default;

WordCache::Key WordCache::KeyOf(std::string_view word, const char* readable_end) {
  const char* p = word.data();
  const size_t n = word.size();
  char copy[kMaxBytes] = {};
  const size_t read = n <= sizeof(ShortEntry::key) ? sizeof(ShortEntry::key) : kMaxBytes;
  if (static_cast<size_t>(readable_end - p) < read) {
    std::memcpy(copy, p, n);
    p = copy;
  }
  Key key;
  key.size = n;
  key.bytes[0] = Load64(p) & LowBytes(n);
  key.bytes[1] = Load64(p + 8) & (n > 8 ? LowBytes(n - 8) : 0);
  uint64_t h = (key.bytes[0] ^ n) * 0x9E3779B97F4A7C15u;
  h = ((h ^ (h >> 32)) + key.bytes[1]) * 0xD6E8FEB86659FD93u;
  if (!IsShort(key)) {
    key.bytes[2] = Load64(p + 16) & LowBytes(n - 16);
    key.bytes[3] = Load64(p + 24) & (n > 24 ? LowBytes(n - 24) : 0);
    h = ((h ^ (h >> 32)) + key.bytes[2]) * 0x9E3779B97F4A7C15u;
    h = ((h ^ (h >> 32)) + key.bytes[3]) * 0xD6E8FEB86659FD93u;
  }
  key.hash = h ^ (h << 29);
  return key;
}

void WordCache::Insert(const Key& key, absl::Span<const BpeSymbol> tokens) {
  uint32_t at = 0;
  for (const BpeSymbol& token : tokens) {
    if (token.begin != at) return;
    at = token.end;
  }
  if (at != key.size) return;
  if (IsShort(key)) {
    short_.Insert(key, tokens);
  } else {
    long_.Insert(key, tokens);
  }
}

template <typename Entry, int kSetBits>
void WordCache::Table<Entry, kSetBits>::Insert(const Key& key, absl::Span<const BpeSymbol> tokens) {
  if (tokens.empty() || tokens.size() > Entry::kTokens) return;
  Entry* entry = set(key);
  if (entry->tokens != 0) ++entry;  // a newcomer must be met again to push out the first
  std::copy_n(key.bytes, std::size(entry->key), entry->key);
  entry->tokens = static_cast<uint8_t>(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    entry->ends[i] = static_cast<uint8_t>(tokens[i].end);
    entry->ids[i] = tokens[i].id;
  }
}

}  // namespace trainerd::engine
