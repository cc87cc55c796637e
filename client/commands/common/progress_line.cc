// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/progress_line.h"

#include <ostream>

#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/time.h"

namespace trainerd::client {
namespace {

constexpr absl::Duration kShowEvery = absl::Milliseconds(500);

}  // namespace

ProgressLine::~ProgressLine() {
  if (last_shown_ != absl::InfinitePast()) context_.err() << std::endl;
}

void ProgressLine::Show(int64_t bytes, int64_t total_bytes) {
  const absl::Time now = SteadyNow();
  if (!context_.talks() || (now - last_shown_ < kShowEvery && bytes < total_bytes)) return;
  last_shown_ = now;
  // The spaces cover the rest of a longer text.
  context_.err() << "\r" << PlainText(what_) << ": " << FormatBytes(bytes) << " of "
                 << FormatBytes(total_bytes) << "   " << std::flush;
}

}  // namespace trainerd::client
