// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/jsonl_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/data/source/conversation.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

JsonlReader::JsonlReader(std::string path, std::unique_ptr<ByteSource> source, Options options)
    : path_(std::move(path)), source_(std::move(source)), options_(options) {}

absl::StatusOr<std::unique_ptr<JsonlReader>> JsonlReader::Open(const std::string& path,
                                                               Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenByteSource(path));
  std::unique_ptr<JsonlReader> reader(new JsonlReader(path, std::move(source), options));
  RETURN_IF_ERROR(reader->CheckStart());
  return reader;
}

int64_t JsonlReader::bytes_done() const {
  return source_->compressed() ? source_->bytes_read() : text_bytes_done_;
}

absl::Status JsonlReader::CheckStart() {
  RETURN_IF_ERROR(Fill(4));
  const std::string_view start(buffer_.data() + begin_, end_ - begin_);
  if (start.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": is empty; it needs one JSON object per line"));
  }
  if (StartsWith(start, "\xff\xfe") || StartsWith(start, "\xfe\xff")) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ":1: is UTF-16; convert it, for example: iconv -f UTF-16 -t UTF-8"));
  }
  if (StartsWith(start, "\xef\xbb\xbf")) {
    begin_ += 3;
    text_bytes_done_ += 3;
  }
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
  }
  return absl::OkStatus();
}

absl::Status JsonlReader::ReadBlock(std::vector<JsonlLine>* lines) {
  lines->clear();
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
    const size_t step = length + (newline == nullptr ? 0 : 1);
    begin_ += step;
    text_bytes_done_ += static_cast<int64_t>(step);
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
    begin_ += length;
    text_bytes_done_ += static_cast<int64_t>(length);
    if (newline != nullptr || at_end_) {
      lines->push_back(
          {.number = line_number_, .too_long = true, .unterminated = newline == nullptr});
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(Fill(options_.block_bytes));
  }
}

}  // namespace trainerd::engine
