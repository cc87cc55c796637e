// SPDX-License-Identifier: Apache-2.0
// Random texts for properties (rapidcheck): all planes of Unicode, what composes and reorders under
// NFC, white space, and the markers that templates and models give a meaning to, whole and broken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/base/utf8.h"
#include "rapidcheck.h"

namespace trainerd::testing {

inline rc::Gen<uint32_t> CodePoints(uint32_t first, uint32_t last) {
  return rc::gen::inRange<uint32_t>(first, last + 1);
}

inline rc::Gen<std::string> RandomPiece() {
  const auto utf8 = [](uint32_t code_point) {
    std::string text;
    trainerd::AppendUtf8(code_point, &text);
    return text;
  };
  return rc::gen::weightedOneOf<std::string>({
      {6, rc::gen::map(CodePoints(0x20, 0x7e), utf8)},
      {2, rc::gen::element<std::string>(" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000")},
      {3, rc::gen::map(CodePoints(0x300, 0x36f), utf8)},    // combining marks
      {2, rc::gen::map(CodePoints(0xc0, 0x24f), utf8)},     // Latin letters that decompose
      {2, rc::gen::map(CodePoints(0x1100, 0x11ff), utf8)},  // Hangul letters that compose
      {1, rc::gen::map(CodePoints(0x590, 0x109f), utf8)},
      {1, rc::gen::map(CodePoints(0x4e00, 0x9fff), utf8)},
      {1, rc::gen::map(CodePoints(0x0, 0x1f), utf8)},
      {2, rc::gen::map(CodePoints(0xe000, 0x10ffff), utf8)},
      {2, rc::gen::element<std::string>("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>",
                                        "<|im_start|>assistant\n", "<|im_end|>\n", "</think>",
                                        "{{ x }}", "{% generation %}")},
      {2, rc::gen::element<std::string>("<|", "|>", "<|im_", "im_end|>", "<|im_start|", "assistant",
                                        "<thin", "\u0338", "{%", "}}")},
  });
}

inline std::string Joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

// Valid UTF-8, often empty or short.
inline rc::Gen<std::string> RandomText() {
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(RandomPiece()), Joined);
}

}  // namespace trainerd::testing
