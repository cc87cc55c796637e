// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/steps/normalizer.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

using Step = Normalizer::Step;

bool ReplacesSpace(const Step& step) {
  return step.kind == Step::Kind::kReplace && step.pattern == " " && step.content != " " &&
         IsOneCharacter(step.content);
}

void Append(std::string_view text, uint32_t begin, uint32_t end, NormalizedText* out) {
  out->text.append(text);
  out->source_begin.resize(out->text.size(), begin);
  out->source_end.resize(out->text.size(), end);
}

// Appends bytes [begin, end) of `from`.
void AppendRange(const NormalizedText& from, size_t begin, size_t end, NormalizedText* out) {
  out->text.append(from.text, begin, end - begin);
  for (const auto sources : {&NormalizedText::source_begin, &NormalizedText::source_end}) {
    const auto first = (from.*sources).begin();
    (out->*sources)
        .insert((out->*sources).end(), first + static_cast<std::ptrdiff_t>(begin),
                first + static_cast<std::ptrdiff_t>(end));
  }
}

// Each character from its own bytes.
NormalizedText Unchanged(std::string_view text) {
  NormalizedText out;
  for (uint32_t at = 0; at < text.size();) {
    int size;
    DecodeUtf8(text.data() + at, &size);
    const uint32_t end = at + static_cast<uint32_t>(size);
    Append(text.substr(at, end - at), at, end, &out);
    at = end;
  }
  return out;
}

NormalizedText Nfc(const NormalizedText& in) {
  NormalizedText out;
  NormalizeNfc(in.text, &out);
  for (size_t i = 0; i < out.text.size(); ++i) {
    out.source_begin[i] = in.source_begin[out.source_begin[i]];
    out.source_end[i] = in.source_end[out.source_end[i] - 1];
  }
  return out;
}

NormalizedText Prepended(const NormalizedText& in, std::string_view text) {
  NormalizedText out;
  if (in.text.empty()) return out;
  Append(text, in.source_begin[0], in.source_end[0], &out);
  AppendRange(in, 0, in.text.size(), &out);
  return out;
}

// The part of a match that its replacement comes from.
enum class Source { kLastByte, kMatch };

NormalizedText Replaced(const NormalizedText& in, std::string_view pattern,
                        std::string_view content, Source source) {
  NormalizedText out;
  size_t done = 0;
  for (size_t at; (at = in.text.find(pattern, done)) != std::string::npos;) {
    AppendRange(in, done, at, &out);
    done = at + pattern.size();
    const size_t first = source == Source::kMatch ? at : done - 1;
    Append(content, in.source_begin[first], in.source_end[done - 1], &out);
  }
  AppendRange(in, done, in.text.size(), &out);
  return out;
}

}  // namespace

Normalizer::Normalizer(std::vector<Step> steps) : steps_(std::move(steps)) {
  const auto replaces = std::find_if(steps_.begin(), steps_.end(), ReplacesSpace);
  if (replaces != steps_.end()) space_symbol_ = replaces->content;
  for (auto step = steps_.begin(); step != steps_.end(); ++step) {
    if (step->kind == Step::Kind::kNfc) {
      nfc_ = true;
    } else if (step->kind == Step::Kind::kPrepend && !space_in_front_ &&
               (step->content == " " || step->content == space_symbol_)) {
      space_in_front_ = true;
    } else if (step != replaces) {
      simple_ = false;
    }
  }
}

int Normalizer::WritesSpace(const std::vector<Step>& steps) {
  auto step = std::find_if(steps.begin(), steps.end(), ReplacesSpace);
  for (; step != steps.end(); ++step) {
    if (step->content.find(' ') != std::string::npos) return static_cast<int>(step - steps.begin());
  }
  return -1;
}

Normalizer::Change Normalizer::ChangeOf(std::string_view text) const {
  if (steps_.empty()) return Change::kNone;
  if (!simple_ || (nfc_ && NeedsNfc(text)) ||
      (!space_symbol_.empty() && text.find(space_symbol_) != std::string_view::npos)) {
    return Change::kOther;
  }
  return space_in_front_ ? Change::kSpaceInFront : Change::kNone;
}

void Normalizer::Normalize(std::string_view text, NormalizedText* out) const {
  auto step = steps_.begin();
  if (step != steps_.end() && step->kind == Step::Kind::kNfc) {
    NormalizeNfc(text, out);
    ++step;
  } else {
    *out = Unchanged(text);
  }
  for (; step != steps_.end(); ++step) {
    switch (step->kind) {
      case Step::Kind::kNfc:
        *out = Nfc(*out);
        break;
      case Step::Kind::kPrepend:
        *out = Prepended(*out, step->content);
        break;
      case Step::Kind::kReplace:
        *out = Replaced(*out, step->pattern, step->content, Source::kLastByte);
        break;
    }
  }
  if (!space_symbol_.empty()) *out = Replaced(*out, space_symbol_, " ", Source::kMatch);
}

bool IsOneCharacter(std::string_view text) {
  if (text.empty()) return false;
  int size;
  DecodeUtf8(text.data(), &size);
  return static_cast<size_t>(size) == text.size();
}

void WriteSpaces(std::string_view text, std::string_view symbol, NormalizedText* out) {
  *out = Replaced(Unchanged(text), symbol, " ", Source::kMatch);
}

}  // namespace trainerd::engine
