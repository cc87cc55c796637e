// SPDX-License-Identifier: Apache-2.0
#include "engine/train/loop/space_wait.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/format.h"
#include "proto/base/time.h"
#include "proto/contract/job/plan/disk_use.h"
#include "spdlog/spdlog.h"

namespace trainerd::engine {
namespace {

// How often a request to pause or stop is noticed.
constexpr absl::Duration kTick = absl::Milliseconds(50);

// What is missing, as a text; nullopt if there is enough.
std::optional<std::string> MissingSpace(const AttemptContext& context) {
  const absl::StatusOr<int64_t> free = context.options.free_bytes(context.spec.run_dir());
  const bool is_first = !context.last_checkpoint.has_value();
  const int64_t needed = SpaceForCheckpoint(is_first ? context.checkpoint_bytes
                                                     : context.last_checkpoint->size_bytes());
  if (!free.ok() || *free >= needed) return std::nullopt;
  return absl::StrCat("the next checkpoint, of step ", context.state.step, ", needs ",
                      FormatBytes(needed), " in ", context.spec.run_dir(), " (1.2 times ",
                      is_first ? "its expected size" : "the last one", "), ", FormatBytes(*free),
                      " are free; free some space, and the job continues by itself");
}

void EmitCondition(AttemptContext& context, bool active, const std::string& reason,
                   const std::string& message) {
  v1::Event event;
  v1::Job::Condition& condition = *event.mutable_condition_changed()->mutable_condition();
  condition.set_type("DiskLow");
  condition.set_active(active);
  condition.set_reason(reason);
  condition.set_message(message);
  context.events.Emit(std::move(event));
}

}  // namespace

void WaitForSpace(AttemptContext& context) {
  std::optional<std::string> missing = MissingSpace(context);
  if (!missing.has_value()) return;
  const auto is_requested = [&] { return context.control.stop_mode() != StopMode::kNone; };
  // A checkpoint of a pause or stop does not wait.
  if (is_requested()) return;
  spdlog::warn("job={} waits for space: {}", context.spec.job(), *missing);
  EmitCondition(context, /*active=*/true, "WAITING", *missing);
  while (missing.has_value() && !is_requested()) {
    const absl::Time next_check = SteadyNow() + context.options.space_check_every;
    while (SteadyNow() < next_check && !is_requested())
      absl::SleepFor(std::min(kTick, context.options.space_check_every));
    missing = MissingSpace(context);
  }
  EmitCondition(context, /*active=*/false, missing.has_value() ? "STOP_REQUESTED" : "FREED",
                missing.has_value() ? "a pause or stop ended the wait for space"
                                    : "there is space for the next checkpoint again");
  spdlog::info("job={} no longer waits for space", context.spec.job());
}

}  // namespace trainerd::engine
