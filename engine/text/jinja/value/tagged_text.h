// SPDX-License-Identifier: Apache-2.0
// Text with a tag for each byte that records its origin. The template interpreter has no other type
// of string, so provenance survives concatenation, slicing, filters and macros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trainerd::engine::jinja {

// Tag::field of the variable `tools`.
constexpr uint8_t kToolsField = 255;
// Keys of a message that have a number of their own; the others share the last one.
constexpr size_t kMaxFields = 64;
constexpr uint8_t FieldOfKey(size_t position) {
  return static_cast<uint8_t>((position < kMaxFields ? position : kMaxFields - 1) + 1);
}

// The origin of a byte of text.
struct Tag {
  // Index of the message to which the byte belongs; -1 = none (yet).
  int32_t message = -1;
  // Set for a value from that message, not for the template's own text.
  bool content = false;
  // Set for text written inside {% generation %}.
  bool generation = false;
  // The key of the message that holds the value, by its position from 1 (see FieldOfKey); or
  // kToolsField. 0 = none.
  uint8_t field = 0;
  // Set for the arguments of a tool call that are JSON text.
  bool json_text = false;

  // The template's own text in `message`; what else is known of the origin stays.
  void Claim(int32_t of_message) {
    message = of_message;
    content = false;
  }

  bool operator==(const Tag&) const = default;
};

// A run: the bytes from `begin` to the next run's begin carry `tag`.
struct TagRun {
  uint32_t begin;
  Tag tag;
};

// A text and its runs in order. The first run begins at 0, unless the text is empty.
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
  // Marks the whole text as written inside {% generation %}. Bytes without a message become the
  // template's text in `message`.
  void Claim(int32_t message, bool generation);

  TaggedText Slice(size_t begin, size_t end) const {
    TaggedText out;
    out.AppendRange(*this, begin, end);
    return out;
  }
  // The tag of the byte at `at`. At the end: the tag of the last byte. Empty text: no message.
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
