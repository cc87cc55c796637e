// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/mutex.h"
#include "engine/text/tokenizer/config_tokens.h"
#include "engine/text/tokenizer/steps/text_encoder.h"
#include "engine/text/tokenizer/tokenizer_config.h"
#include "engine/text/tokenizer/tokenizer_file.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

// Unused scratch spaces that are kept: one for each thread that usually encodes.
constexpr size_t kMaxIdleScratch = 16;

// The bytes that no token spells.
std::vector<uint8_t> UnspellableBytes(const Bpe::Options& bpe, const Vocabulary& vocabulary) {
  std::vector<uint8_t> bytes;
  // The unknown token stands for any character.
  if (!vocabulary.byte_level() && bpe.unk != Bpe::kNoToken) return bytes;
  const auto is_character = [&](int byte) {
    if (vocabulary.byte_level() || byte >= 0x80) return false;
    const bool is_space = byte == ' ' && !vocabulary.space_symbol().empty();
    const std::string spelling(1, static_cast<char>(byte));
    return vocabulary.IdOf(is_space ? vocabulary.space_symbol() : spelling) >= 0;
  };
  for (int byte = 0; byte < 256; ++byte) {
    if (bpe.byte_ids[static_cast<size_t>(byte)] == Bpe::kNoToken && !is_character(byte)) {
      bytes.push_back(static_cast<uint8_t>(byte));
    }
  }
  return bytes;
}

}  // namespace

struct Tokenizer::Impl {
  // Constant after Load.
  Vocabulary vocabulary;
  std::unique_ptr<TextEncoder> encoder;
  TokenDecoder decoder;
  // Of added tokens that are looked for in the normalized text: how they are spelled there, which
  // is what the reference decodes them to.
  absl::flat_hash_map<int32_t, std::string> normalized_spellings;
  std::vector<AddedToken> added_tokens;
  std::vector<bool> special;  // by id
  std::vector<int32_t> prefix, suffix;
  std::optional<int32_t> bos, eos, pad, unk;
  std::vector<std::pair<std::string, std::string>> named_tokens;
  std::vector<NamedTemplate> chat_templates;
  std::vector<uint8_t> unspellable;

  absl::Mutex mutex;
  std::vector<std::unique_ptr<TextEncoder::Scratch>> idle ABSL_GUARDED_BY(mutex);

  void MarkSpecial(int32_t id);
  void SetNamedTokens(const TokenizerConfig& config);
  void BuildEncoder(const EncoderSteps& steps, Bpe::Options bpe);
  void SetNormalizedSpelling(int32_t id, std::string_view normalized, std::string_view symbol);

  std::unique_ptr<TextEncoder::Scratch> TakeScratch();
  void GiveBack(std::unique_ptr<TextEncoder::Scratch> scratch);

  // What Decode makes text of.
  std::string_view DecodedAs(int32_t id) const;
};

void Tokenizer::Impl::MarkSpecial(int32_t id) {
  const auto index = static_cast<size_t>(id);
  if (special.size() <= index) special.resize(index + 1);
  special[index] = true;
}

void Tokenizer::Impl::SetNamedTokens(const TokenizerConfig& config) {
  for (const auto& [name, token] : config.named_tokens) {
    named_tokens.emplace_back(name, token.content);
    const int32_t id = vocabulary.IdOf(token.content);
    if (id < 0) continue;  // empty
    if (name == "bos_token") bos = id;
    if (name == "eos_token") eos = id;
    if (name == "pad_token") pad = id;
    if (name == "unk_token") unk = id;
  }
}

// `normalized`: with a space for each space symbol.
void Tokenizer::Impl::SetNormalizedSpelling(int32_t id, std::string_view normalized,
                                            std::string_view symbol) {
  if (decoder.byte_level()) return vocabulary.SetMeaning(id, normalized);
  std::string& spelling = normalized_spellings[id];
  spelling = normalized;
  if (!symbol.empty()) absl::StrReplaceAll({{" ", std::string(symbol)}}, &spelling);
}

void Tokenizer::Impl::BuildEncoder(const EncoderSteps& steps, Bpe::Options bpe) {
  const Normalizer& normalizer = steps.normalizer;
  TextEncoder::AddedTokens patterns;
  std::vector<std::unique_ptr<NormalizedText>> contents;
  // Special tokens first: of two tokens with one content the first counts.
  for (const bool are_special : {true, false}) {
    for (const AddedToken& t : added_tokens) {
      if (t.special != are_special) continue;
      if (t.special) MarkSpecial(t.id);
      std::string_view content = t.content;
      if (t.normalized && !normalizer.empty()) {
        contents.push_back(std::make_unique<NormalizedText>());
        normalizer.Normalize(content, contents.back().get());
        content = contents.back()->text;
        SetNormalizedSpelling(t.id, content, normalizer.space_symbol());
      }
      (t.normalized ? patterns.normalized : patterns.raw)
          .push_back({content, t.id, t.special, t.lstrip, t.rstrip, t.single_word});
    }
  }
  encoder = std::make_unique<TextEncoder>(steps, patterns, std::move(bpe));
}

std::unique_ptr<TextEncoder::Scratch> Tokenizer::Impl::TakeScratch() {
  {
    absl::MutexLock lock(&mutex);
    if (!idle.empty()) {
      std::unique_ptr<TextEncoder::Scratch> scratch = std::move(idle.back());
      idle.pop_back();
      return scratch;
    }
  }
  return std::make_unique<TextEncoder::Scratch>();
}

void Tokenizer::Impl::GiveBack(std::unique_ptr<TextEncoder::Scratch> scratch) {
  absl::MutexLock lock(&mutex);
  if (idle.size() < kMaxIdleScratch) idle.push_back(std::move(scratch));
}

std::string_view Tokenizer::Impl::DecodedAs(int32_t id) const {
  if (decoder.byte_level()) return vocabulary.Bytes(id);
  const auto normalized = normalized_spellings.find(id);
  return normalized != normalized_spellings.end() ? normalized->second : vocabulary.Spelling(id);
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string json, ReadFile(folder + "/tokenizer.json"));
  auto parsed = ParseTokenizerFile(json);
  if (!parsed.ok()) return Annotate(parsed.status(), folder);
  auto impl = std::make_unique<Impl>();
  impl->vocabulary = std::move(parsed->vocabulary);
  impl->decoder = std::move(parsed->decoder);
  impl->added_tokens = std::move(parsed->added_tokens);
  impl->prefix = std::move(parsed->prefix);
  impl->suffix = std::move(parsed->suffix);
  impl->unspellable = UnspellableBytes(parsed->bpe, impl->vocabulary);

  ASSIGN_OR_RETURN(TokenizerConfig config, ReadTokenizerConfig(folder));
  impl->chat_templates = std::move(config.chat_templates);
  ConfigTokens tokens(parsed->model_tokens, &impl->vocabulary, &impl->added_tokens);
  if (const auto status = tokens.Add(config); !status.ok()) return Annotate(status, folder);
  for (const int32_t id : tokens.once_special()) impl->MarkSpecial(id);
  impl->SetNamedTokens(config);
  impl->BuildEncoder(parsed->steps, std::move(parsed->bpe));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::Status Tokenizer::Encode(std::string_view text, Encoding* out,
                               bool add_special_tokens) const {
  return Encode(text, {}, add_special_tokens, out);
}

absl::Status Tokenizer::EncodeWithPlainText(std::string_view text, absl::Span<const TextSpan> plain,
                                            Encoding* out, bool add_special_tokens) const {
  return Encode(text, plain, add_special_tokens, out);
}

absl::Status Tokenizer::Encode(std::string_view text, absl::Span<const TextSpan> plain,
                               bool add_special_tokens, Encoding* out) const {
  if (text.size() >= UINT32_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat("text of ", text.size(), " bytes: at most 4294967294 can be tokenised"));
  }
  if (const size_t at = FindInvalidUtf8(text); at != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("text is not valid UTF-8 at byte ", at));
  }
  std::unique_ptr<TextEncoder::Scratch> scratch = impl_->TakeScratch();
  TokenSink& sink = scratch->sink;
  // The caller's vectors are filled in place.
  out->clear();
  sink.ids.swap(out->ids);
  sink.begin.swap(out->begin);
  sink.end.swap(out->end);
  if (add_special_tokens) {
    for (const int32_t id : impl_->prefix) sink.Push(id, 0, 0);
  }
  impl_->encoder->Encode(text, plain, scratch.get());
  if (add_special_tokens) {
    const auto end = static_cast<uint32_t>(text.size());
    for (const int32_t id : impl_->suffix) sink.Push(id, end, end);
  }
  sink.ids.swap(out->ids);
  sink.begin.swap(out->begin);
  sink.end.swap(out->end);
  impl_->GiveBack(std::move(scratch));
  return absl::OkStatus();
}

DecodeStream::DecodeStream(const Tokenizer& tokenizer)
    : tokenizer_(tokenizer), stream_(tokenizer.impl_->decoder) {}

bool DecodeStream::Append(int32_t id, std::string* earlier, std::string* text) {
  if (!tokenizer_.impl_->vocabulary.Has(id)) return stream_.IsOpen();
  return stream_.Append(tokenizer_.impl_->DecodedAs(id), earlier, text);
}

void DecodeStream::Finish(std::string* text) { stream_.Finish(text); }

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const {
  DecodeStream stream(*this);
  std::string text;
  for (const int32_t id : ids) {
    if (!skip_special_tokens || !IsSpecial(id)) stream.Append(id, &text, &text);
  }
  stream.Finish(&text);
  return text;
}

int64_t Tokenizer::vocab_size() const { return impl_->vocabulary.size(); }
std::optional<int32_t> Tokenizer::eos_id() const { return impl_->eos; }
std::optional<int32_t> Tokenizer::bos_id() const { return impl_->bos; }
std::optional<int32_t> Tokenizer::pad_id() const { return impl_->pad; }
std::optional<int32_t> Tokenizer::unk_id() const { return impl_->unk; }

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  const int32_t id = impl_->vocabulary.IdOf(token);
  return id >= 0 ? std::optional<int32_t>(id) : std::nullopt;
}
std::string_view Tokenizer::IdToToken(int32_t id) const { return impl_->vocabulary.Spelling(id); }
bool Tokenizer::IsSpecial(int32_t id) const {
  const auto index = static_cast<size_t>(id);  // of a negative id: beyond all others
  return index < impl_->special.size() && impl_->special[index];
}
absl::Span<const AddedToken> Tokenizer::added_tokens() const { return impl_->added_tokens; }
absl::Span<const std::pair<std::string, std::string>> Tokenizer::named_tokens() const {
  return impl_->named_tokens;
}
const std::vector<NamedTemplate>& Tokenizer::chat_templates() const {
  return impl_->chat_templates;
}

int64_t Tokenizer::unspellable_bytes() const {
  return static_cast<int64_t>(impl_->unspellable.size());
}

std::string Tokenizer::UnspellableExample() const {
  constexpr size_t kMaxListed = 4;
  std::string text;
  for (size_t i = 0; i < std::min(impl_->unspellable.size(), kMaxListed); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", "0x",
                    absl::Hex(impl_->unspellable[i], absl::kZeroPad2));
  }
  if (impl_->unspellable.size() > kMaxListed) text.append(", …");
  return text;
}

}  // namespace trainerd::engine
