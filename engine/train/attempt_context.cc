// SPDX-License-Identifier: Apache-2.0
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

absl::Status CheckStopRequested(const RunControl& control) {
  if (control.stop_mode() == StopMode::kNone) return absl::OkStatus();
  return absl::CancelledError("a pause, stop or discard was requested");
}

absl::Status CheckDiscard(const RunControl& control) {
  if (control.stop_mode() != StopMode::kDiscard) return absl::OkStatus();
  return absl::CancelledError("the job was discarded");
}

void EmitNotice(EventSink& events, v1::Notice::Level level, const std::string& code,
                const std::string& message) {
  v1::Event event;
  v1::Notice& notice = *event.mutable_notice();
  notice.set_level(level);
  notice.set_code(code);
  notice.set_message(message);
  events.Emit(std::move(event));
}

}  // namespace trainerd::engine
