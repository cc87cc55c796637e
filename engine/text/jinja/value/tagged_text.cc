// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/value/tagged_text.h"

#include <algorithm>

namespace trainerd::engine::jinja {

void TaggedText::Append(std::string_view text, Tag tag) {
  if (text.empty()) return;
  if (runs_.empty() || !(runs_.back().tag == tag)) {
    runs_.push_back({static_cast<uint32_t>(text_.size()), tag});
  }
  text_.append(text);
}

void TaggedText::AppendRange(const TaggedText& other, size_t begin, size_t end) {
  if (begin >= end) return;
  auto it = std::upper_bound(other.runs_.begin(), other.runs_.end(), begin,
                             [](size_t at, const TagRun& run) { return at < run.begin; });
  for (--it; begin < end; ++it) {
    const size_t run_end =
        it + 1 != other.runs_.end() ? std::min<size_t>((it + 1)->begin, end) : end;
    Append(std::string_view(other.text_).substr(begin, run_end - begin), it->tag);
    begin = run_end;
  }
}

void TaggedText::Claim(int32_t message, bool generation) {
  for (TagRun& run : runs_) {
    if (run.tag.message < 0) run.tag.Claim(message);
    if (generation) run.tag.generation = true;
  }
}

Tag TaggedText::TagAt(size_t at) const {
  if (runs_.empty()) return {};
  auto it = std::upper_bound(runs_.begin(), runs_.end(), at,
                             [](size_t a, const TagRun& run) { return a < run.begin; });
  return (it - 1)->tag;
}

}  // namespace trainerd::engine::jinja
