// SPDX-License-Identifier: Apache-2.0
// The "decoder" of tokenizer.json: spellings of tokens to text, all at once or as they come.
// Source: PyPI tokenizers, decoders/ and pre_tokenizers/metaspace.rs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace trainerd::engine {

class TokenDecoder {
 public:
  struct Step {
    enum class Kind {
      kReplace,       // within each token, `pattern` by `content`
      kMetaspace,     // the character `pattern` by a space, or by nothing (`drop_first`)
      kByteFallback,  // "<0x0A>" by the byte; a run of bytes that is not UTF-8 by U+FFFD each
      kFuse,          // behind it there is one token
      kStrip,         // up to `start` characters `pattern` at the start, up to `stop` at the end
    } kind;
    std::string pattern, content;
    // kMetaspace: in the first token the character gives nothing.
    bool drop_first = false;
    int64_t start = 0, stop = 0;
  };

  // Byte-level: tokens stand for bytes, and those that are not UTF-8 become U+FFFD.
  TokenDecoder() = default;
  // Tokens are spelled in characters, and are joined after the steps.
  static TokenDecoder OfCharacters();
  // Appends a step. Errors: Unimplemented, with the reason, where the step would depend on more
  // than what is decoded so far.
  absl::Status Add(Step step);

  bool byte_level() const { return byte_level_; }

  // Decodes token by token: the texts, joined, are what decoding all tokens at once gives, and none
  // ends within a character. The decoder must outlive the stream.
  class Stream {
   public:
    explicit Stream(const TokenDecoder& decoder) : decoder_(decoder) {}

    // `token`: its spelling; byte-level: its bytes. True if it continues what earlier tokens left
    // open: a part of a character, or a run of byte tokens. Else the text of those is appended to
    // *earlier, which may be `text`. Appends to *text what is complete with this token.
    bool Append(std::string_view token, std::string* earlier, std::string* text);
    // Appends what the last tokens have left open.
    void Finish(std::string* text);
    // Whether the last tokens left something open.
    bool IsOpen() const { return !open_.empty(); }

   private:
    bool AppendBytes(std::string_view bytes, std::string* earlier, std::string* text);
    // Applies the steps from `step` on to one token. Result as Append.
    bool Apply(size_t step, std::string token, std::string* earlier, std::string* text);
    // Decodes the run of byte tokens before `step`, if there is one.
    void EndRun(size_t step, std::string* text);
    // What kStrip behind kFuse leaves of the next part of the text.
    std::string Stripped(const Step& strip, std::string_view part);

    const TokenDecoder& decoder_;
    std::string open_;  // bytes of a character, or of a run of byte tokens
    bool metaspace_began_ = false;
    int64_t start_left_ = -1;  // of Step::start; -1: nothing came yet
    std::string tail_;         // characters that kStrip removes if they are the last
  };

 private:
  bool byte_level_ = true;
  std::vector<Step> steps_;
};

}  // namespace trainerd::engine
