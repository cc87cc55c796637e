// SPDX-License-Identifier: Apache-2.0
// The worker's output on disk, in files of bounded size named after the offset of their first byte
// (worker.00000000000000000000.log). The oldest files are removed and none is renamed, so an offset
// means the same byte for every reader at any time. Bytes that a full disk rejects are counted and
// lost.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "proto/base/fd.h"

namespace trainerd::server {

class LogCapture {
 public:
  struct Options {
    // Must exist.
    std::string dir;
    // A file is closed at this size.
    int64_t file_bytes = 16 << 20;
    // Number of files to keep, at least 1.
    int files = 10;
    size_t excerpt_bytes = 4096;
  };
  explicit LogCapture(Options options);
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  // Never fails. Bytes that cannot be written are counted as lost and take no offset.
  void Write(std::string_view data);
  int64_t bytes_lost() const { return bytes_lost_; }
  // The last whole lines, at most `excerpt_bytes`, as UTF-8. Kept in memory, so a full disk does
  // not affect them.
  std::string Excerpt() const;

 private:
  bool OpenNext();

  const Options options_;
  Fd fd_;
  int64_t offset_ = 0;     // of the next byte
  int64_t file_size_ = 0;  // of the open file
  std::deque<std::string> paths_;
  std::string tail_;
  int64_t bytes_lost_ = 0;
};

}  // namespace trainerd::server
