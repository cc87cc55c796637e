// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/files/json_array_scanner.h"

#include <algorithm>

namespace trainerd::engine {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

}  // namespace

void JsonArrayScanner::Advance(char c) {
  ++position_;
  ++column_;
  if (c != '\n') return;
  ++line_;
  column_ = 1;
}

// Continues in a string, through the quote that ends it. A backslash at the end of `text` is read
// again with what follows.
void JsonArrayScanner::ScanString(std::string_view text) {
  while (in_string_ && position_ < text.size()) {
    const char c = text[position_];
    if (c == '\\') {
      if (position_ + 1 == text.size()) return;
      Advance(c);
    }
    in_string_ = c != '"';
    Advance(text[position_]);
  }
}

bool JsonArrayScanner::ScanElement(std::string_view text) {
  while (position_ < text.size()) {
    if (in_string_) {
      const size_t before = position_;
      ScanString(text);
      if (position_ == before) return false;
      continue;
    }
    const char c = text[position_];
    if (depth_ == 0 && (c == ',' || c == ']')) return true;
    if (c == '"') in_string_ = true;
    if (c == '{' || c == '[') ++depth_;
    if ((c == '}' || c == ']') && depth_ > 0) --depth_;
    Advance(c);
  }
  return false;
}

JsonArrayScanner::Element JsonArrayScanner::Ended(std::string_view text, size_t end) {
  in_element_ = false;
  ++count_;
  element_.end = end;
  while (element_.end > element_.begin && IsSpace(text[element_.end - 1])) --element_.end;
  return element_;
}

std::optional<JsonArrayScanner::Element> JsonArrayScanner::Next(std::string_view text) {
  while (position_ < text.size()) {
    const char c = text[position_];
    if (in_element_) {
      if (!ScanElement(text)) return std::nullopt;
      const Element element = Ended(text, position_);
      ended_ = text[position_] == ']';
      after_comma_ = !ended_;
      Advance(text[position_]);
      return element;
    }
    if (ended_) {
      has_tail_ |= !IsSpace(c);
    } else if (!IsSpace(c) && begun_ && (c != ']' || after_comma_)) {
      in_element_ = true;
      element_ = {.begin = position_, .line = line_, .column = column_};
      continue;
    } else if (!IsSpace(c)) {
      ended_ = begun_;
      begun_ = true;
    }
    Advance(c);
  }
  return std::nullopt;
}

std::optional<JsonArrayScanner::Element> JsonArrayScanner::Finish(std::string_view text) {
  if (!in_element_) return std::nullopt;
  position_ = text.size();
  return Ended(text, text.size());
}

void JsonArrayScanner::Consume(size_t size) {
  position_ -= size;
  element_.begin -= std::min(size, element_.begin);
}

}  // namespace trainerd::engine
