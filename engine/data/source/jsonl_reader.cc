// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/jsonl_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/source/conversation.h"
#include "engine/data/source/files/file_kind.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

constexpr std::string_view kWhiteSpace = " \t\r\n";

// Whether a file that begins with `start` has an object whose first line is its bracket alone.
bool IsSpreadOverLines(std::string_view start) {
  const size_t begin = start.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos || start[begin] != '{') return false;
  const size_t next = start.find_first_not_of(" \t\r", begin + 1);
  return next != std::string_view::npos && start[next] == '\n';
}

}  // namespace

void LocateInFile(const JsonlLine& line, RecordError* error) {
  if (error->column == 0) return;
  const std::string_view before =
      line.text.substr(0, std::min(line.text.size(), static_cast<size_t>(error->column - 1)));
  error->lines_down = std::count(before.begin(), before.end(), '\n');
  if (error->lines_down == 0) {
    error->column += line.column - 1;
  } else {
    error->column -= static_cast<int64_t>(before.rfind('\n')) + 1;
  }
}

JsonlReader::JsonlReader(std::string path, std::unique_ptr<ByteSource> source, Options options)
    : path_(std::move(path)), source_(std::move(source)), options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<JsonlReader>> JsonlReader::Open(const std::string& path,
                                                               Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenByteSource(path));
  std::unique_ptr<JsonlReader> reader(new JsonlReader(path, std::move(source), std::move(options)));
  RETURN_IF_ERROR(reader->CheckStart());
  return reader;
}

int64_t JsonlReader::bytes_done() const {
  return source_->compressed() ? source_->bytes_read() : text_bytes_done_;
}

absl::Status JsonlReader::CheckStart() {
  RETURN_IF_ERROR(Fill(kFileKindBytes));
  const std::string_view start = unread();
  if (start.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": is empty; it needs one JSON object per line"));
  }
  if (StartsWith(start, "\xff\xfe") || StartsWith(start, "\xfe\xff")) {
    return absl::InvalidArgumentError(absl::StrCat(
        path_,
        ":1: is UTF-16; convert it, for example: iconv -f UTF-16 -t UTF-8 FILE > FILE.jsonl"));
  }
  if (const std::string advice = FileKindAdvice(start); !advice.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": ", advice));
  }
  if (StartsWith(start, "\xef\xbb\xbf")) Consume(3);
  if (IsSpreadOverLines(unread())) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_,
                     ":1: a record is spread over several lines; write one per line, for example: "
                     "jq -c . FILE > FILE.jsonl"));
  }
  const size_t first = unread().find_first_not_of(kWhiteSpace);
  is_array_ = first != std::string_view::npos && unread()[first] == '[';
  return absl::OkStatus();
}

// Makes at least `needed` unread bytes available, or all that are left.
absl::Status JsonlReader::Fill(size_t needed) {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() < needed + kJsonPadding) buffer_.resize(needed + kJsonPadding);
  while (end_ < needed && !at_end_) {
    ASSIGN_OR_RETURN(const size_t count,
                     source_->Read(buffer_.data() + end_, buffer_.size() - kJsonPadding - end_));
    if (count == 0) at_end_ = true;
    end_ += count;
    if (options_.keep_on) RETURN_IF_ERROR(options_.keep_on());
  }
  return absl::OkStatus();
}

void JsonlReader::Consume(size_t size) {
  begin_ += size;
  text_bytes_done_ += static_cast<int64_t>(size);
}

absl::Status JsonlReader::ReadBlock(std::vector<JsonlLine>* lines) {
  lines->clear();
  if (is_array_) return ReadElements(lines);
  size_t needed = std::max(options_.block_bytes, size_t{64});
  while (lines->empty()) {
    RETURN_IF_ERROR(Fill(needed));
    if (begin_ == end_) return absl::OkStatus();
    size_t split = end_;  // one past the last newline; all of it at the end of the file
    if (!at_end_) {
      const void* newline = memrchr(buffer_.data() + begin_, '\n', end_ - begin_);
      split = newline == nullptr
                  ? begin_
                  : static_cast<size_t>(static_cast<const char*>(newline) - buffer_.data()) + 1;
    }
    if (split == begin_ && end_ - begin_ > options_.max_line_bytes) {
      return SkipLongLine(lines);
    }
    if (split == begin_) {
      needed = std::min(2 * needed, options_.max_line_bytes + options_.block_bytes);
      continue;
    }
    SplitLines(split, lines);
  }
  return absl::OkStatus();
}

void JsonlReader::SplitLines(size_t end, std::vector<JsonlLine>* lines) {
  while (begin_ < end) {
    const char* start = buffer_.data() + begin_;
    const void* newline = std::memchr(start, '\n', end - begin_);
    const size_t length = newline == nullptr
                              ? end - begin_
                              : static_cast<size_t>(static_cast<const char*>(newline) - start);
    AddLine(begin_, begin_ + length, newline == nullptr, lines);
    Consume(length + (newline == nullptr ? 0 : 1));
  }
}

void JsonlReader::AddLine(size_t begin, size_t end, bool unterminated,
                          std::vector<JsonlLine>* lines) {
  ++line_number_;
  std::string_view text(buffer_.data() + begin, end - begin);
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  if (text.find_first_not_of(" \t\r") == std::string_view::npos) return;
  if (text.size() > options_.max_line_bytes) {
    lines->push_back({.number = line_number_, .too_long = true, .unterminated = unterminated});
    return;
  }
  lines->push_back({.number = line_number_, .text = text, .unterminated = unterminated});
}

// Reads on to the end of a line of which already more than the limit is in the buffer.
absl::Status JsonlReader::SkipLongLine(std::vector<JsonlLine>* lines) {
  ++line_number_;
  for (;;) {
    const char* start = buffer_.data() + begin_;
    const void* newline = std::memchr(start, '\n', end_ - begin_);
    const size_t length = newline == nullptr
                              ? end_ - begin_
                              : static_cast<size_t>(static_cast<const char*>(newline) - start) + 1;
    Consume(length);
    if (newline != nullptr || at_end_) {
      lines->push_back(
          {.number = line_number_, .too_long = true, .unterminated = newline == nullptr});
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(Fill(options_.block_bytes));
  }
}

absl::Status JsonlReader::ReadElements(std::vector<JsonlLine>* lines) {
  size_t needed = std::max(options_.block_bytes, size_t{64});
  for (;;) {
    RETURN_IF_ERROR(Fill(needed));
    while (const auto element = scanner_.Next(unread())) AddElement(*element, lines);
    if (at_end_) {
      if (const auto element = scanner_.Finish(unread())) {
        AddElement(*element, lines);
        lines->back().unterminated = true;
      }
    }
    // The bytes of an unfinished element stay, unless there are too many.
    skips_element_ |= unread().size() - scanner_.consumable() > options_.max_line_bytes;
    const size_t done = skips_element_ ? scanner_.scanned() : scanner_.consumable();
    Consume(done);
    scanner_.Consume(done);
    if (!lines->empty()) return absl::OkStatus();
    if (at_end_) return CheckArrayEnd();
    needed = skips_element_ ? options_.block_bytes
                            : std::min(2 * needed, options_.max_line_bytes + options_.block_bytes);
  }
}

void JsonlReader::AddElement(const JsonArrayScanner::Element& element,
                             std::vector<JsonlLine>* lines) {
  const size_t size = element.end - element.begin;
  const bool too_long = std::exchange(skips_element_, false) || size > options_.max_line_bytes;
  lines->push_back({.number = element.line,
                    .column = element.column,
                    .text = too_long ? std::string_view() : unread().substr(element.begin, size),
                    .too_long = too_long});
}

absl::Status JsonlReader::CheckArrayEnd() const {
  const std::string where = absl::StrCat(path_, ":", scanner_.line(), ": ");
  if (!scanner_.ended()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, "the file ends inside its JSON array: it was cut off, copy it again"));
  }
  if (scanner_.has_tail()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where,
                     "something follows the end of the JSON array; a file has one array, or "
                     "one record per line"));
  }
  if (scanner_.count() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path_, ": the JSON array is empty"));
}

}  // namespace trainerd::engine
