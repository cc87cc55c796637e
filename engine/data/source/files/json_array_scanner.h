// SPDX-License-Identifier: Apache-2.0
// Finds the elements of one JSON array in text that arrives in pieces, without parsing them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace trainerd::engine {

// Thread-safety: one owner at a time.
class JsonArrayScanner {
 public:
  // An element, as offsets in the scanned text, without the white space around it. One that is
  // missing ("[1,,2]") is empty.
  struct Element {
    size_t begin = 0, end = 0;
    // Where it begins in the file.
    int64_t line = 1;    // 1-based
    int64_t column = 1;  // 1-based byte
  };

  // The next element that is complete in `text`: what the call before received, without the bytes
  // that Consume removed since, and what follows in the file. The first text begins with the array,
  // white space aside. nullopt = more text is needed, or the array has ended.
  std::optional<Element> Next(std::string_view text);
  // At the end of the file: the element that has begun and is not complete.
  std::optional<Element> Finish(std::string_view text);

  // Removes `size` bytes from the beginning of the text, at most those that were scanned. An
  // unfinished element that began there lost its beginning.
  void Consume(size_t size);
  // Bytes of the text that no further element needs.
  size_t consumable() const { return in_element_ ? element_.begin : position_; }
  // Bytes of the text that were read.
  size_t scanned() const { return position_; }

  // The closing bracket was read.
  bool ended() const { return ended_; }
  // Something other than white space follows it.
  bool has_tail() const { return has_tail_; }
  // Elements so far.
  int64_t count() const { return count_; }
  // Line of the file at which scanning stands.
  int64_t line() const { return line_; }

 private:
  // Continues in the element; true = `text` contains its end.
  bool ScanElement(std::string_view text);
  void ScanString(std::string_view text);
  void Advance(char c);
  Element Ended(std::string_view text, size_t end);

  Element element_;
  size_t position_ = 0;
  int64_t line_ = 1, column_ = 1;
  int64_t count_ = 0;
  int depth_ = 0;
  bool begun_ = false, in_element_ = false, in_string_ = false, after_comma_ = false;
  bool ended_ = false, has_tail_ = false;
};

}  // namespace trainerd::engine
