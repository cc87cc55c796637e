// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/evaluations/trigger.h"

#include "proto/base/time.h"

namespace trainerd::server {
namespace {

using Evaluation = v1::Evaluation;

Evaluation::Trigger UnlessTooSoon(Evaluation::Trigger trigger, const v1::RemoteTriggerConfig& when,
                                  const TriggerPoint& point, const TriggerHistory& history) {
  const bool too_soon =
      history.gap_since.has_value() && point.now - *history.gap_since < FromProto(when.min_gap());
  return too_soon ? Evaluation::TRIGGER_UNSPECIFIED : trigger;
}

}  // namespace

Evaluation::Trigger DecideTrigger(const v1::RemoteTriggerConfig& when, const TriggerPoint& point,
                                  const TriggerHistory& history) {
  if (history.triggered) return Evaluation::TRIGGER_UNSPECIFIED;
  switch (point.kind) {
    case TriggerPoint::Kind::kStart:
      return when.at_start() ? Evaluation::START : Evaluation::TRIGGER_UNSPECIFIED;
    case TriggerPoint::Kind::kPublished:
      if (when.every_steps() > 0 && point.step - history.interval_step >= when.every_steps())
        return UnlessTooSoon(Evaluation::INTERVAL, when, point, history);
      break;
    case TriggerPoint::Kind::kBest:
      if (when.on_best()) return UnlessTooSoon(Evaluation::BEST, when, point, history);
      break;
    case TriggerPoint::Kind::kEnd:
      return when.at_end() ? Evaluation::END : Evaluation::TRIGGER_UNSPECIFIED;
  }
  return Evaluation::TRIGGER_UNSPECIFIED;
}

}  // namespace trainerd::server
