// SPDX-License-Identifier: Apache-2.0
// The progress of a transfer: one line on stderr that is redrawn in place, for a person at a
// terminal only.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "client/commands/common/context.h"

namespace trainerd::client {

class ProgressLine {
 public:
  ProgressLine(const Context& context, std::string what)
      : context_(context), what_(std::move(what)) {}
  // Ends the line.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Show(int64_t bytes, int64_t total_bytes);

 private:
  const Context& context_;
  const std::string what_;
  absl::Time last_shown_ = absl::InfinitePast();
};

}  // namespace trainerd::client
