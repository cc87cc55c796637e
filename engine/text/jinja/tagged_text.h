// SPDX-License-Identifier: Apache-2.0
// Text whose bytes know where they came from. The template interpreter has no other kind of string,
// so that provenance survives concatenation, slicing, filters and macros by construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trainerd::engine::jinja {

// Where a byte of text came from.
struct Tag {
  int32_t message = -1;     // index of the message that it belongs to; -1 = none (yet)
  bool content = false;     // it is a value out of that message, not the template's own text
  bool generation = false;  // written inside {% generation %}

  bool operator==(const Tag&) const = default;
};

// Bytes from `begin` to the next run's begin carry `tag`.
struct TagRun {
  uint32_t begin;
  Tag tag;
};

// A text and its runs, in order; the first begins at 0 unless the text is empty.
class TaggedText {
 public:
  TaggedText() = default;
  TaggedText(std::string text, Tag tag) : text_(std::move(text)) {
    if (!text_.empty()) runs_.push_back({0, tag});
  }

  const std::string& text() const { return text_; }
  const std::vector<TagRun>& runs() const { return runs_; }
  size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty(); }

  void Append(std::string_view text, Tag tag);
  void Append(const TaggedText& other) { AppendRange(other, 0, other.size()); }
  // Appends bytes [begin, end) of `other` with their tags.
  void AppendRange(const TaggedText& other, size_t begin, size_t end);
  // Marks all of it as written inside {% generation %}, and what no message claims as template
  // text of `message`.
  void Claim(int32_t message, bool generation);

  TaggedText Slice(size_t begin, size_t end) const {
    TaggedText out;
    out.AppendRange(*this, begin, end);
    return out;
  }
  // Tag of the byte at `at`; that of the last byte at the end; no message for an empty text.
  Tag TagAt(size_t at) const;

  // Calls visit(begin, end, tag) for each run.
  template <typename Visit>
  void ForEachRun(const Visit& visit) const {
    for (size_t i = 0; i < runs_.size(); ++i) {
      visit(size_t{runs_[i].begin}, i + 1 < runs_.size() ? size_t{runs_[i + 1].begin} : size(),
            runs_[i].tag);
    }
  }

 private:
  std::string text_;
  std::vector<TagRun> runs_;
};

}  // namespace trainerd::engine::jinja
