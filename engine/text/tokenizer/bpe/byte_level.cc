// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/bpe/byte_level.h"

#include <array>

#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

struct Alphabet {
  std::array<uint16_t, 256> symbol;
  std::array<int16_t, 324> byte;
};

// Printable Latin-1 bytes spell themselves; the others get the code points from 256 on, in order.
constexpr Alphabet MakeAlphabet() {
  Alphabet a{};
  for (auto& b : a.byte) b = -1;
  uint16_t next = 256;
  for (int i = 0; i < 256; ++i) {
    const bool printable = (i >= '!' && i <= '~') || (i >= 0xA1 && i <= 0xAC) || i >= 0xAE;
    a.symbol[static_cast<size_t>(i)] = printable ? static_cast<uint16_t>(i) : next++;
    a.byte[a.symbol[static_cast<size_t>(i)]] = static_cast<int16_t>(i);
  }
  return a;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

uint32_t ByteSymbol(uint8_t byte) { return kAlphabet.symbol[byte]; }

int SymbolByte(uint32_t code_point) {
  return code_point < kAlphabet.byte.size() ? kAlphabet.byte[code_point] : -1;
}

bool AppendSpelledBytes(std::string_view spelling, std::string* bytes) {
  const size_t old_size = bytes->size();
  const char* end = spelling.data() + spelling.size();
  for (const char* p = spelling.data(); p < end;) {
    int size;
    const int byte = SymbolByte(DecodeUtf8(p, &size));
    if (byte < 0) {
      bytes->resize(old_size);
      return false;
    }
    bytes->push_back(static_cast<char>(byte));
    p += size;
  }
  return true;
}

}  // namespace trainerd::engine
