// SPDX-License-Identifier: Apache-2.0
// The GPT-2 alphabet of byte-level BPE: each byte is spelled by one printable character, so that
// vocabularies are plain text (" the" is stored as "Ġthe").
// Source: openai/gpt-2 encoder.py, bytes_to_unicode().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trainerd::engine {

// Code point that spells `byte`.
uint32_t ByteSymbol(uint8_t byte);

// The byte that `code_point` spells, or -1.
int SymbolByte(uint32_t code_point);

// Appends the bytes that `spelling` (valid UTF-8) stands for. False, with *bytes unchanged, if one
// of its characters spells no byte.
bool AppendSpelledBytes(std::string_view spelling, std::string* bytes);

}  // namespace trainerd::engine
