// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/steps/token_decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/text/tokenizer/steps/normalizer.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

using Step = TokenDecoder::Step;

constexpr char kReplacementCharacter[] = "\uFFFD";

std::string Lossy(std::string_view bytes) {
  std::string text;
  AppendLossyUtf8(bytes, &text);
  return text;
}

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

std::optional<int> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  if (lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return std::nullopt;
}

// The byte of "<0x0A>". As Rust's from_str_radix, it may be written with a plus sign.
std::optional<char> ByteOf(std::string_view token) {
  if (token.size() != 6 || !StartsWith(token, "<0x") || token[5] != '>') return std::nullopt;
  const std::optional<int> high = token[3] == '+' ? 0 : HexDigit(token[3]);
  const std::optional<int> low = HexDigit(token[4]);
  if (!high.has_value() || !low.has_value()) return std::nullopt;
  return static_cast<char>(*high * 16 + *low);
}

bool EndsWith(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

// Removes up to `most` times `character` at the start. Returns how many.
int64_t StripStart(std::string_view character, int64_t most, std::string_view* text) {
  int64_t count = 0;
  for (; count < most && StartsWith(*text, character); ++count) {
    text->remove_prefix(character.size());
  }
  return count;
}

// The same at the end. Returns the bytes that were removed.
size_t StripEnd(std::string_view character, int64_t most, std::string_view* text) {
  const size_t size = text->size();
  for (int64_t i = 0; i < most && EndsWith(*text, character); ++i) {
    text->remove_suffix(character.size());
  }
  return size - text->size();
}

}  // namespace

TokenDecoder TokenDecoder::OfCharacters() {
  TokenDecoder decoder;
  decoder.byte_level_ = false;
  return decoder;
}

absl::Status TokenDecoder::Add(Step step) {
  const auto is = [](Step::Kind kind) {
    return [kind](const Step& other) { return other.kind == kind; };
  };
  const auto fuse = std::find_if(steps_.begin(), steps_.end(), is(Step::Kind::kFuse));
  const bool fused = fuse != steps_.end();
  switch (step.kind) {
    case Step::Kind::kReplace:
      if (fused && !IsOneCharacter(step.pattern)) {
        return absl::UnimplementedError("a pattern of several characters behind Fuse");
      }
      break;
    case Step::Kind::kMetaspace:
    case Step::Kind::kByteFallback:
      if (fused) return absl::UnimplementedError("this step behind Fuse");
      if (std::any_of(steps_.begin(), steps_.end(), is(step.kind))) {
        return absl::UnimplementedError("this step twice");
      }
      break;
    case Step::Kind::kFuse:
      break;
    case Step::Kind::kStrip:
      if (std::any_of(fuse, steps_.end(), is(step.kind))) {
        return absl::UnimplementedError("this step twice behind Fuse");
      }
      break;
  }
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

bool TokenDecoder::Stream::Append(std::string_view token, std::string* earlier, std::string* text) {
  if (decoder_.byte_level()) return AppendBytes(token, earlier, text);
  return Apply(0, std::string(token), earlier, text);
}

bool TokenDecoder::Stream::AppendBytes(std::string_view bytes, std::string* earlier,
                                       std::string* text) {
  const auto joins = [&] {
    return Lossy(open_) + Lossy(bytes) != Lossy(std::string(open_).append(bytes));
  };
  const bool continues = !open_.empty() && (bytes.empty() || joins());
  if (!open_.empty() && !continues) {
    AppendLossyUtf8(open_, earlier);
    open_.clear();
  }
  open_.append(bytes);
  size_t held = 0;
  AppendLossyUtf8(open_, text, &held);
  open_.erase(0, open_.size() - held);
  return continues;
}

bool TokenDecoder::Stream::Apply(size_t step, std::string token, std::string* earlier,
                                 std::string* text) {
  bool fused = false;
  for (size_t i = step; i < decoder_.steps_.size(); ++i) {
    const Step& s = decoder_.steps_[i];
    std::string_view rest = token;
    switch (s.kind) {
      case Step::Kind::kReplace:
        token = absl::StrReplaceAll(token, {{s.pattern, s.content}});
        break;
      case Step::Kind::kMetaspace:
        token =
            absl::StrReplaceAll(token, {{s.pattern, s.drop_first && !metaspace_began_ ? "" : " "}});
        metaspace_began_ = true;
        break;
      case Step::Kind::kByteFallback:
        if (const std::optional<char> byte = ByteOf(token)) {
          open_.push_back(*byte);
          return open_.size() > 1;
        }
        EndRun(i, earlier);
        break;
      case Step::Kind::kFuse:
        fused = true;
        break;
      case Step::Kind::kStrip:
        if (fused) {
          token = Stripped(s, token);
        } else {
          StripStart(s.pattern, s.start, &rest);
          StripEnd(s.pattern, s.stop, &rest);
          token = std::string(rest);
        }
        break;
    }
  }
  text->append(token);
  return false;
}

void TokenDecoder::Stream::EndRun(size_t step, std::string* text) {
  if (open_.empty()) return;
  const std::string run = std::exchange(open_, "");
  if (FindInvalidUtf8(run) == std::string::npos) {
    Apply(step + 1, run, text, text);
    return;
  }
  for (size_t i = 0; i < run.size(); ++i) Apply(step + 1, kReplacementCharacter, text, text);
}

std::string TokenDecoder::Stream::Stripped(const Step& strip, std::string_view part) {
  if (start_left_ < 0) start_left_ = strip.start;
  start_left_ -= StripStart(strip.pattern, start_left_, &part);
  if (!part.empty()) start_left_ = 0;
  const std::string both = absl::StrCat(tail_, absl::string_view(part.data(), part.size()));
  std::string_view kept = both;
  tail_ = both.substr(both.size() - StripEnd(strip.pattern, strip.stop, &kept));
  return std::string(kept);
}

void TokenDecoder::Stream::Finish(std::string* text) {
  if (decoder_.byte_level()) {
    AppendLossyUtf8(open_, text);
    open_.clear();
    return;
  }
  for (size_t i = 0; i < decoder_.steps_.size(); ++i) {
    if (decoder_.steps_[i].kind == Step::Kind::kByteFallback) EndRun(i, text);
  }
}

}  // namespace trainerd::engine
