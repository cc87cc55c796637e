// SPDX-License-Identifier: Apache-2.0
// Rotation opens the next file; see the header for the names.
#include "server/shim/log_capture.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/utf8.h"
#include "proto/contract/run_dir/attempt_files.h"

namespace trainerd::server {

LogCapture::LogCapture(Options options) : options_(std::move(options)) {}

bool LogCapture::OpenNext() {
  const std::string path = absl::StrCat(options_.dir, "/", LogFileName(offset_));
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd.is_open()) return false;
  fd_ = std::move(fd);
  file_size_ = 0;
  if (paths_.empty() || paths_.back() != path) paths_.push_back(path);
  while (static_cast<int>(paths_.size()) > std::max(1, options_.files)) {
    unlink(paths_.front().c_str());
    paths_.pop_front();
  }
  return true;
}

void LogCapture::Write(std::string_view data) {
  tail_.append(data);
  if (tail_.size() > 4 * options_.excerpt_bytes) {
    tail_.erase(0, tail_.size() - options_.excerpt_bytes - 1);
  }
  while (!data.empty()) {
    if ((!fd_.is_open() || file_size_ >= options_.file_bytes) && !OpenNext()) break;
    const size_t room = static_cast<size_t>(options_.file_bytes - file_size_);
    const ssize_t n = write(fd_.get(), data.data(), std::min(room, data.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    offset_ += n;
    file_size_ += n;
    data.remove_prefix(static_cast<size_t>(n));
  }
  bytes_lost_ += static_cast<int64_t>(data.size());
}

std::string LogCapture::Excerpt() const {
  std::string text = tail_;
  if (text.size() > options_.excerpt_bytes) {
    text.erase(0, text.size() - options_.excerpt_bytes);
    // Drops the partial first line, unless it is the only one.
    const size_t newline = text.find('\n');
    if (newline != std::string::npos && newline + 1 < text.size()) text.erase(0, newline + 1);
  }
  return ToValidUtf8(text);
}

}  // namespace trainerd::server
