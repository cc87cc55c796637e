// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/text/tokenizer/added_tokens.h"
#include "engine/text/tokenizer/config_tokens.h"
#include "engine/text/tokenizer/tokenizer_config.h"
#include "engine/text/tokenizer/tokenizer_file.h"
#include "engine/text/unicode/nfc.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

// The work space of one call of Encode; kept for the next call, because the word cache is warm.
struct Scratch {
  Bpe::Scratch bpe;
  TokenSink sink;
  std::vector<TextPiece> raw_pieces, normalized_pieces;
  NormalizedText normalized;
  std::vector<uint32_t> outer_ends, word_ends;
  std::string prefixed;
};

// Unused scratch spaces that are kept: one for each thread that usually encodes.
constexpr size_t kMaxIdleScratch = 16;

// The bytes of `normalized` that came from a byte of `plain`, spans of the text in which the
// normalized piece begins at `offset`.
std::vector<TextSpan> PlainOf(const NormalizedText& normalized, uint32_t offset,
                              absl::Span<const TextSpan> plain) {
  std::vector<TextSpan> spans;
  for (uint32_t i = 0; i < normalized.text.size(); ++i) {
    const uint32_t begin = offset + normalized.source_begin[i];
    const uint32_t end = offset + normalized.source_end[i];
    const auto* span = std::upper_bound(plain.begin(), plain.end(), begin,
                                        [](uint32_t at, const TextSpan& s) { return at < s.end; });
    if (span == plain.end() || span->begin >= end) continue;
    if (!spans.empty() && spans.back().end == i) {
      spans.back().end = i + 1;
    } else {
      spans.push_back({i, i + 1});
    }
  }
  return spans;
}

}  // namespace

struct Tokenizer::Impl {
  // Constant after Load.
  Vocabulary vocabulary;
  std::unique_ptr<Bpe> bpe;
  bool nfc = false;
  PreTokenizer pre_tokenizer;
  std::vector<AddedToken> added_tokens;
  std::vector<bool> special;  // by id
  std::vector<int32_t> prefix, suffix;
  std::unique_ptr<AddedTokenMatcher> raw_tokens, normalized_tokens;
  std::optional<int32_t> bos, eos, pad, unk;
  std::vector<std::pair<std::string, std::string>> named_tokens;
  std::vector<NamedTemplate> chat_templates;
  std::vector<uint8_t> unspellable;

  absl::Mutex mutex;
  std::vector<std::unique_ptr<Scratch>> idle ABSL_GUARDED_BY(mutex);

  void MarkSpecial(int32_t id);
  void SetNamedTokens(const TokenizerConfig& config);
  void BuildMatchers();

  std::unique_ptr<Scratch> TakeScratch();
  void GiveBack(std::unique_ptr<Scratch> scratch);

  // `plain`: see EncodeWithPlainText.
  void EncodeAll(std::string_view text, absl::Span<const TextSpan> plain, Scratch* scratch) const;
  void EncodePiece(std::string_view text, uint32_t begin, uint32_t end,
                   absl::Span<const TextSpan> plain, Scratch* scratch) const;
  void EncodeWords(std::string_view text, uint32_t begin, uint32_t end, Scratch* scratch) const;
  void EncodePrefixed(std::string_view text, uint32_t begin, uint32_t end, Scratch* scratch) const;
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

void Tokenizer::Impl::BuildMatchers() {
  std::vector<AddedTokenMatcher::Pattern> raw, normalized;
  std::vector<std::unique_ptr<NormalizedText>> contents;
  // Special tokens first: of two tokens with one content the first counts.
  for (const bool are_special : {true, false}) {
    for (const AddedToken& t : added_tokens) {
      if (t.special != are_special) continue;
      if (t.special) MarkSpecial(t.id);
      std::string_view content = t.content;
      if (t.normalized && nfc) {
        contents.push_back(std::make_unique<NormalizedText>());
        NormalizeNfc(content, contents.back().get());
        content = contents.back()->text;
        vocabulary.SetMeaning(t.id, content);  // the reference decodes to the normalized text
      }
      (t.normalized ? normalized : raw)
          .push_back({content, t.id, t.special, t.lstrip, t.rstrip, t.single_word});
    }
  }
  raw_tokens = std::make_unique<AddedTokenMatcher>(raw);
  normalized_tokens = std::make_unique<AddedTokenMatcher>(normalized);
}

std::unique_ptr<Scratch> Tokenizer::Impl::TakeScratch() {
  {
    absl::MutexLock lock(&mutex);
    if (!idle.empty()) {
      std::unique_ptr<Scratch> scratch = std::move(idle.back());
      idle.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>();
}

void Tokenizer::Impl::GiveBack(std::unique_ptr<Scratch> scratch) {
  absl::MutexLock lock(&mutex);
  if (idle.size() < kMaxIdleScratch) idle.push_back(std::move(scratch));
}

void Tokenizer::Impl::EncodeAll(std::string_view text, absl::Span<const TextSpan> plain,
                                Scratch* scratch) const {
  const auto size = static_cast<uint32_t>(text.size());
  scratch->raw_pieces.clear();
  raw_tokens->Split(text, 0, size, plain, &scratch->raw_pieces);
  for (const TextPiece& piece : scratch->raw_pieces) {
    if (piece.id >= 0) {
      scratch->sink.Push(piece.id, piece.begin, piece.end);
      continue;
    }
    const std::string_view raw = text.substr(piece.begin, piece.end - piece.begin);
    if (!nfc || !NeedsNfc(raw)) {
      EncodePiece(text, piece.begin, piece.end, plain, scratch);
      continue;
    }
    NormalizedText& n = scratch->normalized;
    NormalizeNfc(raw, &n);
    TokenSink& sink = scratch->sink;
    const size_t first = sink.ids.size();
    std::vector<TextSpan> normalized_plain;
    if (!plain.empty() && !normalized_tokens->empty()) {
      normalized_plain = PlainOf(n, piece.begin, plain);
    }
    EncodePiece(n.text, 0, static_cast<uint32_t>(n.text.size()), normalized_plain, scratch);
    for (size_t i = first; i < sink.ids.size(); ++i) {
      if (sink.begin[i] == sink.end[i]) {  // a space that was put in front covers no byte
        const uint32_t at = sink.begin[i];
        sink.begin[i] = sink.end[i] =
            at < n.text.size() ? piece.begin + n.source_begin[at] : piece.end;
        continue;
      }
      const uint32_t last = sink.end[i] - 1;
      sink.begin[i] = piece.begin + n.source_begin[sink.begin[i]];
      sink.end[i] = piece.begin + n.source_end[last];
    }
  }
}

void Tokenizer::Impl::EncodePiece(std::string_view text, uint32_t begin, uint32_t end,
                                  absl::Span<const TextSpan> plain, Scratch* scratch) const {
  if (normalized_tokens->empty()) {
    EncodeWords(text, begin, end, scratch);
    return;
  }
  scratch->normalized_pieces.clear();
  normalized_tokens->Split(text, begin, end, plain, &scratch->normalized_pieces);
  for (const TextPiece& piece : scratch->normalized_pieces) {
    if (piece.id >= 0) {
      scratch->sink.Push(piece.id, piece.begin, piece.end);
    } else {
      EncodeWords(text, piece.begin, piece.end, scratch);
    }
  }
}

void Tokenizer::Impl::EncodeWords(std::string_view text, uint32_t begin, uint32_t end,
                                  Scratch* scratch) const {
  const std::string_view piece = text.substr(begin, end - begin);
  if (pre_tokenizer.prefix_space_step().has_value()) {
    scratch->outer_ends.clear();
    pre_tokenizer.Split(piece, 0, *pre_tokenizer.prefix_space_step(), begin, &scratch->outer_ends);
    for (const uint32_t outer_end : scratch->outer_ends) {
      EncodePrefixed(text, begin, outer_end, scratch);
      begin = outer_end;
    }
    return;
  }
  scratch->word_ends.clear();
  pre_tokenizer.Split(piece, 0, pre_tokenizer.num_steps(), begin, &scratch->word_ends);
  bpe->EncodeWords(text, begin, scratch->word_ends, &scratch->bpe, &scratch->sink);
}

void Tokenizer::Impl::EncodePrefixed(std::string_view text, uint32_t begin, uint32_t end,
                                     Scratch* scratch) const {
  const size_t first_step = *pre_tokenizer.prefix_space_step();
  const uint32_t added = text[begin] == ' ' ? 0 : 1;
  std::string& piece = scratch->prefixed;
  piece.assign(added, ' ');
  piece.append(text.substr(begin, end - begin));
  scratch->word_ends.clear();
  pre_tokenizer.Split(piece, first_step, pre_tokenizer.num_steps(), 0, &scratch->word_ends);
  TokenSink& sink = scratch->sink;
  const size_t first = sink.ids.size();
  bpe->EncodeWords(piece, 0, scratch->word_ends, &scratch->bpe, &sink);
  for (size_t i = first; i < sink.ids.size(); ++i) {
    sink.begin[i] = begin + std::max(sink.begin[i], added) - added;
    sink.end[i] = begin + std::max(sink.end[i], added) - added;
  }
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string json, ReadFile(folder + "/tokenizer.json"));
  auto parsed = ParseTokenizerFile(json);
  if (!parsed.ok()) return Annotate(parsed.status(), folder);
  auto impl = std::make_unique<Impl>();
  impl->vocabulary = std::move(parsed->vocabulary);
  impl->nfc = parsed->nfc;
  impl->pre_tokenizer = std::move(parsed->pre_tokenizer);
  impl->added_tokens = std::move(parsed->added_tokens);
  impl->prefix = std::move(parsed->prefix);
  impl->suffix = std::move(parsed->suffix);
  for (int byte = 0; byte < 256; ++byte) {
    if (parsed->bpe.byte_ids[static_cast<size_t>(byte)] == Bpe::kNoToken) {
      impl->unspellable.push_back(static_cast<uint8_t>(byte));
    }
  }
  impl->bpe = std::make_unique<Bpe>(std::move(parsed->bpe));

  ASSIGN_OR_RETURN(TokenizerConfig config, ReadTokenizerConfig(folder));
  impl->chat_templates = std::move(config.chat_templates);
  ConfigTokens tokens(parsed->model_tokens, &impl->vocabulary, &impl->added_tokens);
  if (const auto status = tokens.Add(config); !status.ok()) return Annotate(status, folder);
  for (const int32_t id : tokens.once_special()) impl->MarkSpecial(id);
  impl->SetNamedTokens(config);
  impl->BuildMatchers();
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
  std::unique_ptr<Scratch> scratch = impl_->TakeScratch();
  TokenSink& sink = scratch->sink;
  // The caller's vectors are filled in place.
  out->clear();
  sink.ids.swap(out->ids);
  sink.begin.swap(out->begin);
  sink.end.swap(out->end);
  if (add_special_tokens) {
    for (const int32_t id : impl_->prefix) sink.Push(id, 0, 0);
  }
  impl_->EncodeAll(text, plain, scratch.get());
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

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (skip_special_tokens && IsSpecial(id)) continue;
    bytes.append(impl_->vocabulary.Bytes(id));
  }
  std::string text;
  AppendLossyUtf8(bytes, &text);
  return text;
}

void Tokenizer::AppendTokenBytes(int32_t id, std::string* out) const {
  out->append(impl_->vocabulary.Bytes(id));
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
