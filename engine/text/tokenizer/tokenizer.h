// SPDX-License-Identifier: Apache-2.0
// The BPE tokenizer of a Hugging Face model folder (tokenizer.json), byte-level or SentencePiece-
// style: text to token ids and back, exactly as PyPI `tokenizers` does it, at native speed. A
// feature that this code does not support is an error that names the JSON path, never a silent
// difference. The folder's chat template is only returned here; chat_template.h renders it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/text/tokenizer/steps/token_decoder.h"
#include "engine/text/unicode/text_span.h"

namespace trainerd::engine {

// Token ids of a text, and for each the bytes of the INPUT text that it stands for. Where NFC
// changed the text the offsets are mapped back to the input: all tokens of a composed character
// carry the bytes that it was composed of.
// Tokens that a post-processor added (add_special_tokens) cover no bytes: begin == end.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<uint32_t> begin, end;

  void clear() {
    ids.clear();
    begin.clear();
    end.clear();
  }
  size_t size() const { return ids.size(); }
};

// A token of tokenizer.json "added_tokens" (or of tokenizer_config.json "added_tokens_decoder").
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;      // dropped by Decode(skip_special_tokens)
  bool normalized = false;   // looked for in the normalized text instead of the input
  bool lstrip = false;       // swallows white space on its left
  bool rstrip = false;       // swallows white space on its right
  bool single_word = false;  // matches only where no letter, digit or underscore touches it
};

// A chat template of a model folder.
struct NamedTemplate {
  std::string name, source;
};

// Thread-safety: const methods may be called from many threads at once.
class Tokenizer {
 public:
  // Reads FOLDER/tokenizer.json and, where present, the files beside it (tokenizer_config.h). As in
  // transformers, the flags of added_tokens_decoder win over tokenizer.json, and a special token
  // that the vocabulary lacks gets the next free id.
  // Errors: NotFound without tokenizer.json; InvalidArgument naming file and JSON path for
  // malformed content; Unimplemented naming the JSON path for a feature that is not supported.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& folder);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Replaces *out by the tokens of `text`. Adds no BOS or EOS unless `add_special_tokens`, which
  // runs the file's own post-processor: chat templates write these tokens themselves.
  // Text that is not UTF-8 is an error. Errors: InvalidArgument with the byte offset.
  // Cost: O(n log n) in the worst case (one word of n bytes).
  absl::Status Encode(std::string_view text, Encoding* out, bool add_special_tokens = false) const;

  // The same, but no special token is found that touches a byte of `plain` (in order, disjoint and
  // not adjacent): a spelling of one there is plain text, as with PyPI tokenizers'
  // encode_special_tokens. A token that begins before such a span ends before it.
  absl::Status EncodeWithPlainText(std::string_view text, absl::Span<const TextSpan> plain,
                                   Encoding* out, bool add_special_tokens = false) const;

  // Text of the tokens; ids outside the vocabulary give nothing. Bytes that are not UTF-8 become
  // U+FFFD, as in PyPI tokenizers. DecodeStream decodes token by token.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special_tokens = false) const;

  int64_t vocab_size() const;  // highest id + 1
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<int32_t> unk_id() const;

  // Spelling as in tokenizer.json: byte-level symbols for vocabulary entries ("Ġthe"), plain text
  // for added tokens.
  std::optional<int32_t> TokenToId(std::string_view token) const;
  std::string_view IdToToken(int32_t id) const;  // "" for an id that is not in use
  bool IsSpecial(int32_t id) const;              // an added token flagged special
  absl::Span<const AddedToken> added_tokens() const;

  // The special tokens that the files name, as ("eos_token", spelling): variables of a chat
  // template. A token that the vocabulary lacks is among them.
  absl::Span<const std::pair<std::string, std::string>> named_tokens() const;

  // The model's own templates (chat_template.h chooses): chat_template.jinja and
  // additional_chat_templates/NAME.jinja, else tokenizer_config.json "chat_template", a string
  // ("default") or a list of {name, template}. Empty = none.
  const std::vector<NamedTemplate>& chat_templates() const;

  // How many of the 256 bytes no token spells. Text with such a byte loses it, as it does in the
  // reference; callers report it once.
  int64_t unspellable_bytes() const;
  // The first of them in printable form, for a message ("0xf1, 0xf2, …"); "" if there is none.
  std::string UnspellableExample() const;

 private:
  friend class DecodeStream;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  absl::Status Encode(std::string_view text, absl::Span<const TextSpan> plain,
                      bool add_special_tokens, Encoding* out) const;
  std::unique_ptr<Impl> impl_;
};

// Decodes token by token. All texts, joined, are what Tokenizer::Decode gives; none ends within a
// character. The tokenizer must outlive the stream.
class DecodeStream {
 public:
  explicit DecodeStream(const Tokenizer& tokenizer);

  // As TokenDecoder::Stream::Append.
  bool Append(int32_t id, std::string* earlier, std::string* text);
  void Finish(std::string* text);

 private:
  const Tokenizer& tokenizer_;
  TokenDecoder::Stream stream_;
};

}  // namespace trainerd::engine
