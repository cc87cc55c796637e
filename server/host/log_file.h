// SPDX-License-Identifier: Apache-2.0
// The daemon's log file: `log_file` of trainerd.yaml. It is renamed to PATH.1 when it is full, and
// the older ones to PATH.2 and so on; the oldest is removed. Each line is one write(2): nothing is
// lost when the daemon is killed. An error, for example a full disk, drops the line and counts it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/fd.h"
#include "spdlog/sinks/base_sink.h"

namespace trainerd::server {

// Not thread-safe.
class LogFile {
 public:
  struct Limits {
    int64_t bytes = int64_t{16} << 20;
    // With the current one.
    int files = 10;
  };
  // Opens or creates the file. Errors: of open(2), with the path.
  static absl::StatusOr<std::unique_ptr<LogFile>> Open(const std::string& path, Limits limits);
  static absl::StatusOr<std::unique_ptr<LogFile>> Open(const std::string& path) {
    return Open(path, Limits());
  }

  // Appends one line with its end of line.
  void Write(std::string_view line);
  // Opens the path again, after another program has renamed the file. On an error the old file
  // remains in use.
  absl::Status Reopen();
  // Lines that were dropped since the last one that was written.
  int64_t dropped() const { return dropped_; }

 private:
  LogFile(std::string path, Limits limits) : path_(std::move(path)), limits_(limits) {}
  void Rotate();
  bool Append(std::string_view text);

  const std::string path_;
  const Limits limits_;
  Fd fd_;
  int64_t size_ = 0;
  // Size at which to rotate; grows after a rotation that failed.
  int64_t rotate_at_ = 0;
  int64_t dropped_ = 0;
};

// The same for spdlog. Thread-safe.
class LogFileSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LogFileSink(std::unique_ptr<LogFile> file) : file_(std::move(file)) {}
  absl::Status Reopen() {
    const std::lock_guard lock(mutex_);
    return file_->Reopen();
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}

  const std::unique_ptr<LogFile> file_;
};

}  // namespace trainerd::server
