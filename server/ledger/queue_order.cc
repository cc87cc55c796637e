// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/queue_order.h"

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "proto/base/time.h"

namespace trainerd::server {

int EffectivePriority(int priority, absl::Duration waited, absl::Duration aging) {
  constexpr int64_t kMaxPriority = 100;
  const int64_t unit = absl::ToInt64Microseconds(aging);
  if (unit <= 0) return priority;
  const int64_t raised = std::max<int64_t>(0, absl::ToInt64Microseconds(waited)) / unit;
  return static_cast<int>(std::min(kMaxPriority, priority + std::min(raised, 2 * kMaxPriority)));
}

int EffectivePriority(const QueueEntry& entry, absl::Time now, absl::Duration aging) {
  return EffectivePriority(entry.priority, now - entry.queued_since, aging);
}

int EffectivePriority(const JobRecord& record, absl::Time now, absl::Duration aging) {
  const absl::Duration waited = record.ledger.has_queued_since()
                                    ? now - FromProto(record.ledger.queued_since())
                                    : absl::ZeroDuration();
  return EffectivePriority(record.job.config().priority(), waited, aging);
}

bool ComesFirst(const QueueEntry& a, const QueueEntry& b, absl::Time now, absl::Duration aging) {
  const int first = EffectivePriority(a, now, aging), second = EffectivePriority(b, now, aging);
  if (first != second) return first > second;
  return std::tie(a.order, a.number) < std::tie(b.order, b.number);
}

}  // namespace trainerd::server
