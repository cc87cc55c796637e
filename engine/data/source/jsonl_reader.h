// SPDX-License-Identifier: Apache-2.0
// Records of a JSONL file (plain, gzip or zstd), one per line, or of a file that is one JSON array,
// one per element. Read in blocks: memory use does not depend on the file's size. CRLF and a
// byte-order mark are removed, blank lines are skipped, and the last line may lack its newline.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/data/source/files/byte_source.h"
#include "engine/data/source/files/json_array_scanner.h"
#include "engine/data/source/record_error.h"

namespace trainerd::engine {

// One record. `text` is followed by kJsonPadding readable bytes (conversation.h) and is valid until
// the next ReadBlock. An element of an array may contain newlines.
struct JsonlLine {
  int64_t number = 0;  // 1-based line of the file at which it begins
  int64_t column = 1;  // 1-based byte in that line
  std::string_view text;
  bool too_long = false;      // longer than the limit; text is empty
  bool unterminated = false;  // the file ends after it, without a newline or the array's next sign
};

// Makes the location of an error in line.text, a byte, one in the file.
void LocateInFile(const JsonlLine& line, RecordError* error);

// Thread-safety: one owner at a time.
class JsonlReader {
 public:
  struct Options {
    size_t block_bytes = 4u << 20;
    size_t max_line_bytes = 100u << 20;
    // Called after each read of the file, so that a record without an end can be left. An error
    // ends the reading.
    std::function<absl::Status()> keep_on = nullptr;
  };

  // Errors: those of OpenByteSource; InvalidArgument with what to do for a file that is empty or
  // UTF-16, has no JSON (file_kind.h), or has one object over many lines.
  static absl::StatusOr<std::unique_ptr<JsonlReader>> Open(const std::string& path,
                                                           Options options);
  static absl::StatusOr<std::unique_ptr<JsonlReader>> Open(const std::string& path) {
    return Open(path, Options{});
  }
  JsonlReader(const JsonlReader&) = delete;
  JsonlReader& operator=(const JsonlReader&) = delete;

  // Replaces *lines with the next records, at least one; empty = end of file. Errors: those of
  // reading; InvalidArgument for an array that is empty, has no end, or is followed by something.
  absl::Status ReadBlock(std::vector<JsonlLine>* lines);

  const std::string& path() const { return path_; }
  // The file is one JSON array.
  bool is_array() const { return is_array_; }
  bool compressed() const { return source_->compressed(); }
  // Size of the file on disk.
  int64_t size_bytes() const { return source_->size_bytes(); }
  // Bytes of the file whose lines have been returned; for a compressed file, bytes that have been
  // read.
  int64_t bytes_done() const;

 private:
  JsonlReader(std::string path, std::unique_ptr<ByteSource> source, Options options);
  absl::Status CheckStart();
  absl::Status Fill(size_t needed);
  void SplitLines(size_t end, std::vector<JsonlLine>* lines);
  void AddLine(size_t begin, size_t end, bool unterminated, std::vector<JsonlLine>* lines);
  absl::Status SkipLongLine(std::vector<JsonlLine>* lines);
  absl::Status ReadElements(std::vector<JsonlLine>* lines);
  void AddElement(const JsonArrayScanner::Element& element, std::vector<JsonlLine>* lines);
  // At the end of the file.
  absl::Status CheckArrayEnd() const;
  std::string_view unread() const { return {buffer_.data() + begin_, end_ - begin_}; }
  // Removes bytes from the unread ones.
  void Consume(size_t size);

  const std::string path_;
  const std::unique_ptr<ByteSource> source_;
  const Options options_;
  std::vector<char> buffer_;  // bytes [begin_, end_) are unread; padding follows
  size_t begin_ = 0, end_ = 0;
  bool at_end_ = false;
  int64_t line_number_ = 0;
  int64_t text_bytes_done_ = 0;
  bool is_array_ = false;
  JsonArrayScanner scanner_;
  bool skips_element_ = false;  // the unfinished element is longer than the limit
};

}  // namespace trainerd::engine
